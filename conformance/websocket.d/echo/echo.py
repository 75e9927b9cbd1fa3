"""Says back what it hears. `/close/CODE` closes with CODE at the first message."""


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})
        return
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        if scope["path"].startswith("/close/"):
            await send({"type": "websocket.close", "code": int(scope["path"].rsplit("/", 1)[1])})
            return
        answer = {"type": "websocket.send"}
        if message.get("text") is not None:
            answer["text"] = message["text"]
        else:
            answer["bytes"] = message["bytes"]
        await send(answer)
