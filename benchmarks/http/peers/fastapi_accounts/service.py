# SPDX-License-Identifier: Apache-2.0
"""The dashboard and the transfers of the reference service, on FastAPI and asyncpg.

ACCOUNTS_DSN=postgresql://... python3 -m uvicorn service:app --port PORT --loop uvloop --http httptools --workers 1 --no-access-log
"""

import asyncio
import os
from datetime import datetime, timezone
from typing import Any

import asyncpg
from fastapi import FastAPI, Header, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, conint

LARGEST_BALANCE = 2**63 - 1


class Problem(Exception):
    """Answered as application/problem+json."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


class Order(BaseModel):
    from_: conint(strict=True, ge=1)  # type: ignore[valid-type]
    to: conint(strict=True, ge=1)  # type: ignore[valid-type]
    amount: conint(strict=True, ge=1, le=LARGEST_BALANCE)  # type: ignore[valid-type]

    class Config:
        fields = {"from_": "from"}

    def to_text(self) -> str:
        """Equal orders have equal text, however their JSON was written."""
        return f"{self.from_}>{self.to}:{self.amount}"


app = FastAPI()


@app.on_event("startup")
async def open_pool() -> None:
    app.state.pool = await asyncpg.create_pool(os.environ["ACCOUNTS_DSN"], min_size=4, max_size=16, command_timeout=10)


@app.on_event("shutdown")
async def close_pool() -> None:
    await app.state.pool.close()


def problem(status: int, title: str, code: str, detail: str, request: Request, **more: Any) -> JSONResponse:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "instance": request.url.path, "code": code, **more}
    return JSONResponse(body, status_code=status, media_type="application/problem+json")


@app.exception_handler(Problem)
async def answer_problem(request: Request, why: Problem) -> JSONResponse:
    titles = {404: "Not Found", 409: "Conflict", 422: "Unprocessable Content"}
    return problem(why.status, titles[why.status], why.code, str(why), request)


@app.exception_handler(RequestValidationError)
async def answer_invalid(request: Request, why: RequestValidationError) -> JSONResponse:
    errors = [{"pointer": "/" + "/".join(map(str, e["loc"][1:])), "detail": e["msg"]} for e in why.errors()]
    return problem(422, "Unprocessable Content", "invalid", "the request is not valid", request, errors=errors)


def as_text(when: datetime) -> str:
    return when.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_json(row: asyncpg.Record) -> dict[str, Any]:
    return {**row, "created_at": as_text(row["created_at"])}


@app.get("/users/{id}/dashboard")
async def get_dashboard(request: Request, id: int = Path(ge=1)) -> JSONResponse:
    pool: asyncpg.Pool = request.app.state.pool
    async with asyncio.TaskGroup() as group:
        user = group.create_task(pool.fetchrow("SELECT id, email, name, created_at FROM users WHERE id = $1", id))
        posts = group.create_task(
            pool.fetch("SELECT id, user_id, title, body, created_at FROM posts WHERE user_id = $1 ORDER BY id", id)
        )
        comments = group.create_task(
            pool.fetch("SELECT id, post_id, user_id, body, created_at FROM comments WHERE user_id = $1 ORDER BY id", id)
        )
        accounts = group.create_task(
            pool.fetch("SELECT id, user_id, balance, created_at FROM accounts WHERE user_id = $1 ORDER BY id", id)
        )
    found = user.result()
    if found is None:
        raise Problem(404, "user_not_found", f"there is no user {id}")
    return JSONResponse(
        {
            "user": to_json(found),
            "posts": [to_json(row) for row in posts.result()],
            "comments": [to_json(row) for row in comments.result()],
            "accounts": [to_json(row) for row in accounts.result()],
        }
    )


TRANSFER = 'id, from_id AS "from", to_id AS "to", amount, created_at'


async def made_before(c: asyncpg.Connection, key: str, order: Order) -> asyncpg.Record | None:
    known = await c.fetchrow("SELECT body, transfer_id FROM idempotency_keys WHERE key = $1", key)
    if known is None:
        return None
    if known["body"] != order.to_text():
        raise Problem(422, "idempotency_mismatch", "this Idempotency-Key was used for another transfer")
    return await c.fetchrow(f"SELECT {TRANSFER} FROM transfers WHERE id = $1", known["transfer_id"])


async def move_money(c: asyncpg.Connection, order: Order) -> asyncpg.Record:
    # In the order of their ids, so that two transfers never wait for each other.
    rows = await c.fetch(
        "SELECT id, balance FROM accounts WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE", [order.from_, order.to]
    )
    balances = {row["id"]: row["balance"] for row in rows}
    for account in (order.from_, order.to):
        if account not in balances:
            raise Problem(404, "account_not_found", f"there is no account {account}")
    if balances[order.from_] < order.amount:
        raise Problem(409, "insufficient_funds", f"account {order.from_} has not enough money")
    if balances[order.to] > LARGEST_BALANCE - order.amount:
        raise Problem(422, "balance_overflow", f"account {order.to} cannot hold so much")
    await c.execute("UPDATE accounts SET balance = balance - $1 WHERE id = $2", order.amount, order.from_)
    await c.execute("UPDATE accounts SET balance = balance + $1 WHERE id = $2", order.amount, order.to)
    return await c.fetchrow(
        f"INSERT INTO transfers (from_id, to_id, amount) VALUES ($1, $2, $3) RETURNING {TRANSFER}",
        order.from_,
        order.to,
        order.amount,
    )


async def transfer(pool: asyncpg.Pool, order: Order, key: str | None) -> asyncpg.Record:
    async with pool.acquire() as c, c.transaction():
        if key is not None and (before := await made_before(c, key, order)):
            return before
        made = await move_money(c, order)
        if key is not None:
            await c.execute(
                "INSERT INTO idempotency_keys (key, body, transfer_id) VALUES ($1, $2, $3)", key, order.to_text(), made["id"]
            )
        return made


@app.post("/transfers", status_code=201)
async def create_transfer(
    order: Order, request: Request, idempotency_key: str | None = Header(default=None, min_length=1, max_length=255)
) -> JSONResponse:
    if order.from_ == order.to:
        raise Problem(422, "invalid", "to must be another account than from")
    pool: asyncpg.Pool = request.app.state.pool
    try:
        made = await transfer(pool, order, idempotency_key)
    except asyncpg.UniqueViolationError:  # the same key at the same time: the other one has made it
        made = await transfer(pool, order, idempotency_key)
    return JSONResponse(to_json(made), status_code=201)
