-- SPDX-License-Identifier: Apache-2.0
-- The tables of the reference service, as far as the dashboard and transfers need them.

CREATE TABLE users (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  email text NOT NULL,
  name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now());
CREATE UNIQUE INDEX users_by_email ON users (lower(email));

CREATE TABLE posts (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  user_id bigint NOT NULL REFERENCES users,
  title text NOT NULL,
  body text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX posts_by_user ON posts (user_id);

CREATE TABLE comments (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  post_id bigint NOT NULL REFERENCES posts,
  user_id bigint NOT NULL REFERENCES users,
  body text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX comments_by_user ON comments (user_id);

CREATE TABLE accounts (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  user_id bigint NOT NULL REFERENCES users,
  balance bigint NOT NULL DEFAULT 0 CHECK (balance >= 0),
  created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX accounts_by_user ON accounts (user_id);

CREATE TABLE transfers (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  from_id bigint NOT NULL REFERENCES accounts,
  to_id bigint NOT NULL REFERENCES accounts,
  amount bigint NOT NULL CHECK (amount > 0),
  created_at timestamptz NOT NULL DEFAULT now());

CREATE TABLE idempotency_keys (
  key text PRIMARY KEY,
  body text NOT NULL,
  transfer_id bigint NOT NULL REFERENCES transfers);
