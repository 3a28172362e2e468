"""Characters in, tokens out: the tokenizer, the chat template and coordinate text. No pixels, no files but its own."""
