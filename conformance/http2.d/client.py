"""What Python's httpx (over hyper-h2) sees of a site: client.py HTTPS-PORT HOST AUTHORITY."""

import asyncio
import hashlib
import os
import ssl
import sys

import httpx

PORT, HOST, AUTHORITY = sys.argv[1:4]
AT_ONCE = 100
TIMES = 10
passed = 0


def check(what, holds, said=""):
    global passed
    if not holds:
        sys.exit(f"httpx: not as it should be: {what} {said}")
    passed += 1


def said(method, path, body):
    return f"{method} {path} {len(body)} {hashlib.sha256(body).hexdigest()}\n"


async def main():
    context = ssl.create_default_context(cafile=AUTHORITY)
    url, extensions = f"https://127.0.0.1:{PORT}", {"sni_hostname": HOST}
    headers = {"host": HOST}
    async with httpx.AsyncClient(http2=True, verify=context, headers=headers, timeout=30) as client:

        async def one(number):
            body = os.urandom(number * 100)
            answer = await client.post(f"{url}/{number}", content=body, extensions=extensions)
            return answer.http_version == "HTTP/2" and answer.text == said("POST", f"/{number}", body)

        for _ in range(TIMES):
            check(f"{AT_ONCE} at once on one connection", all(await asyncio.gather(*map(one, range(AT_ONCE)))))
        body = os.urandom(8 << 20)

        async def pieces():
            for start in range(0, len(body), 100_000):
                yield body[start : start + 100_000]

        answer = await client.put(f"{url}/large", content=pieces(), extensions=extensions)
        check("8 MiB of no length that was said", answer.text == said("PUT", "/large", body), answer.text)
        answer = await client.get(f"{url}/s/large.bin", extensions=extensions)
        check("3 MiB of a file", answer.status_code == 200 and len(answer.content) == 3 << 20)
        part = {"range": "bytes=1000000-1000099"}
        part = await client.get(f"{url}/s/large.bin", headers=part, extensions=extensions)
        check("a part of it", part.status_code == 206 and part.content == answer.content[1_000_000:1_000_100])
        crumbs = [("host", HOST), ("cookie", "a=1"), ("cookie", "b=2")]
        answer = await client.get(f"{url}/", headers=crumbs, extensions=extensions)
        check("cookies in crumbs", answer.status_code == 200)
        answer = await client.head(f"{url}/s/large.bin", extensions=extensions)
        check("a head", answer.status_code == 200 and answer.headers["content-length"] == str(3 << 20))


asyncio.run(main())
print(f"httpx {httpx.__version__}: {passed} checks passed, 0 failed; {AT_ONCE * TIMES} requests among them")
