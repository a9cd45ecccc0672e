// SPDX-License-Identifier: Apache-2.0
// The tables in SQLite, step by step. A step that has been released is never changed; changes are new steps.

#include "schema.hpp"

namespace accounts {

std::vector<belay::db::sqlite::migration> sqlite_schema() {
  return {
      {1, "create users, accounts, deposits, transfers", R"sql(
        CREATE TABLE users (
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          email TEXT NOT NULL COLLATE NOCASE UNIQUE,
          name TEXT NOT NULL,
          created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')));
        CREATE TABLE accounts (
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          user_id INTEGER NOT NULL REFERENCES users (id),
          balance INTEGER NOT NULL DEFAULT 0 CHECK (balance >= 0),
          created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')));
        CREATE INDEX accounts_by_user ON accounts (user_id);
        CREATE TABLE deposits (
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          account_id INTEGER NOT NULL REFERENCES accounts (id),
          amount INTEGER NOT NULL CHECK (amount > 0),
          created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')));
        CREATE TABLE transfers (
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          from_id INTEGER NOT NULL REFERENCES accounts (id),
          to_id INTEGER NOT NULL REFERENCES accounts (id),
          amount INTEGER NOT NULL CHECK (amount > 0),
          created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')));
      )sql"},
      {2, "create idempotency_keys", R"sql(
        CREATE TABLE idempotency_keys (
          key TEXT PRIMARY KEY,
          body TEXT NOT NULL,
          transfer_id INTEGER NOT NULL REFERENCES transfers (id)) WITHOUT ROWID;
      )sql"},
      {3, "create outbox", R"sql(
        CREATE TABLE outbox (
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          recipient TEXT NOT NULL,
          subject TEXT NOT NULL,
          body TEXT NOT NULL,
          created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')));
      )sql"},
      {4, "create posts, comments", R"sql(
        CREATE TABLE posts (
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          user_id INTEGER NOT NULL REFERENCES users (id),
          title TEXT NOT NULL,
          body TEXT NOT NULL,
          created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')));
        CREATE INDEX posts_by_user ON posts (user_id);
        CREATE TABLE comments (
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          post_id INTEGER NOT NULL REFERENCES posts (id),
          user_id INTEGER NOT NULL REFERENCES users (id),
          body TEXT NOT NULL,
          created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')));
        CREATE INDEX comments_by_post ON comments (post_id);
        CREATE INDEX comments_by_user ON comments (user_id);
      )sql"},
      {5, "create reports", R"sql(
        CREATE TABLE reports (
          id INTEGER PRIMARY KEY AUTOINCREMENT,
          user_id INTEGER NOT NULL REFERENCES users (id),
          state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'failed')),
          created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
          finished_at TEXT,
          result TEXT,
          problem TEXT);
        CREATE INDEX reports_pending ON reports (id) WHERE state = 'pending';
        CREATE INDEX transfers_by_from ON transfers (from_id);
        CREATE INDEX transfers_by_to ON transfers (to_id);
      )sql"},
  };
}

}  // namespace accounts
