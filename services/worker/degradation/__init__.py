"""What requests give up while a model is slow or failing."""
