"""The commands of `recbole-ssr`: their words and options, and what each of them does."""
