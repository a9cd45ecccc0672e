// SPDX-License-Identifier: Apache-2.0
// The tables in PostgreSQL, step by step. A step that has been released is never changed; changes are new steps.

#include "schema.hpp"

namespace accounts {

std::vector<belay::db::postgres::migration> postgres_schema() {
  return {
      {1, "create users, accounts, deposits, transfers", R"sql(
        CREATE TABLE users (
          id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          email text NOT NULL,
          name text NOT NULL,
          created_at timestamptz NOT NULL DEFAULT clock_timestamp());
        CREATE UNIQUE INDEX users_email ON users (lower(email COLLATE "C"));
        CREATE TABLE accounts (
          id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          user_id bigint NOT NULL REFERENCES users (id),
          balance bigint NOT NULL DEFAULT 0 CHECK (balance >= 0),
          created_at timestamptz NOT NULL DEFAULT clock_timestamp());
        CREATE INDEX accounts_by_user ON accounts (user_id);
        CREATE TABLE deposits (
          id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          account_id bigint NOT NULL REFERENCES accounts (id),
          amount bigint NOT NULL CHECK (amount > 0),
          created_at timestamptz NOT NULL DEFAULT clock_timestamp());
        CREATE TABLE transfers (
          id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          from_id bigint NOT NULL REFERENCES accounts (id),
          to_id bigint NOT NULL REFERENCES accounts (id),
          amount bigint NOT NULL CHECK (amount > 0),
          created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
          made_in xid8 NOT NULL DEFAULT pg_current_xact_id());
        CREATE INDEX transfers_in_order ON transfers (made_in, id);
      )sql"},
      {2, "create idempotency_keys", R"sql(
        CREATE TABLE idempotency_keys (
          key text PRIMARY KEY,
          body text NOT NULL,
          transfer_id bigint NOT NULL REFERENCES transfers (id));
      )sql"},
      {3, "create outbox", R"sql(
        CREATE TABLE outbox (
          id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          recipient text NOT NULL,
          subject text NOT NULL,
          body text NOT NULL,
          created_at timestamptz NOT NULL DEFAULT clock_timestamp());
      )sql"},
      {4, "create posts, comments", R"sql(
        CREATE TABLE posts (
          id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          user_id bigint NOT NULL REFERENCES users (id),
          title text NOT NULL,
          body text NOT NULL,
          created_at timestamptz NOT NULL DEFAULT clock_timestamp());
        CREATE INDEX posts_by_user ON posts (user_id);
        CREATE TABLE comments (
          id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          post_id bigint NOT NULL REFERENCES posts (id),
          user_id bigint NOT NULL REFERENCES users (id),
          body text NOT NULL,
          created_at timestamptz NOT NULL DEFAULT clock_timestamp());
        CREATE INDEX comments_by_post ON comments (post_id);
        CREATE INDEX comments_by_user ON comments (user_id);
      )sql"},
      {5, "create reports", R"sql(
        CREATE TABLE reports (
          id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
          user_id bigint NOT NULL REFERENCES users (id),
          state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'failed')),
          created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
          finished_at timestamptz,
          result text,
          problem text);
        CREATE INDEX reports_pending ON reports (id) WHERE state = 'pending';
        CREATE INDEX transfers_by_from ON transfers (from_id);
        CREATE INDEX transfers_by_to ON transfers (to_id);
      )sql"},
  };
}

}  // namespace accounts
