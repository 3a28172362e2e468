"""From questions to answers: sampling, batched decoding, and the chat on top."""
