"""What training the encoder and training the relevance model share."""
