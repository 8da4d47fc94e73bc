"""The description of the HTTP interface: the operations as data, their OpenAPI document, and a page of it."""
