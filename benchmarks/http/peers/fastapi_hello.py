# SPDX-License-Identifier: Apache-2.0
"""GET /hello on FastAPI.

python3 -m uvicorn fastapi_hello:app --port PORT --loop uvloop --http httptools --workers 1 --no-access-log
"""

from fastapi import FastAPI

app = FastAPI()


@app.get("/hello")
async def hello() -> dict[str, str]:
    return {"message": "hello, world"}
