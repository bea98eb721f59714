"""What Presidio lacks or gets wrong beside Chinese characters: recognizers in its own form, one type a file."""
