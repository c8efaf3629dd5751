"""One loaded model over HTTP, for programs that speak OpenAI's or Ollama's interface.

    settings.py    what the server is told when it starts
    app.py         the ASGI application: routes inside, guards around
    service/       the model as routes see it: answers, embeddings, their queues
    routes/        addresses of no vendor: health, metrics, tokens
    openai/        OpenAI's addresses; other vendors' stand beside it
    middleware/    guards, pure ASGI: who may ask, how much, and whether they are still there
    server.py      uvicorn, its sockets and its end

Needs the extra `serve`. Nothing imports this room but the command line.
"""
