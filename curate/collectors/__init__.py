"""One way of making rows from what people already have (code, documents, chat logs) per file."""
