"""What the commands about documents need: files of a folder, requests made from them, filters, options."""
