"""Documents of any format to text: detection of the format, decoding, and extraction in bounded child processes."""
