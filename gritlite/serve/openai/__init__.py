"""OpenAI's interface (platform.openai.com/docs/api-reference): one file for each address."""
