// SPDX-License-Identifier: Apache-2.0
// Which names are secret, and what is masked in running text.

#include <doctest/doctest.h>

#include <belay/telemetry/redactor.hpp>

using belay::telemetry::redactor;

TEST_CASE("redactor: names, count as secret by whole words in any spelling [row 476]") {
  const redactor r;
  for (const char* name :
       {"password", "Password", "db_password", "dbPassword", "DB-PASSWORD", "user.password", "Set-Cookie",
        "access_token", "accessToken", "Authorization", "Proxy-Authorization", "client_secret", "api_key",
        "apiKey", "apikey", "X-Api-Key"}) {
    CAPTURE(name);
    CHECK(r.is_secret(name));
  }
  for (const char* name :
       {"", "pass", "tokens_left", "secretary", "tokenizer", "key", "path", "_", "cookies"}) {
    CAPTURE(name);
    CHECK_FALSE(r.is_secret(name));
  }
  CHECK_FALSE(redactor({}).is_secret("password"));
}

TEST_CASE("redactor: running text, loses the values after secret names only [row 476]") {
  const redactor r;
  const auto masked = [&](std::string_view text) { return r.text(text); };
  CHECK(masked("login with password=hunter2 failed") == "login with password=[redacted] failed");
  CHECK(masked("?user=7&access_token=abc&x=1") == "?user=7&access_token=[redacted]&x=1");
  CHECK(masked(R"({"password": "a \" b", "n": 1})") == R"({"password": "[redacted]", "n": 1})");
  CHECK(masked("password : 'two words'; next") == "password : '[redacted]'; next");
  CHECK(masked("Authorization: Bearer abc.def\r\nHost: x") == "Authorization: [redacted]\r\nHost: x");
  CHECK(masked("authorization=Bearer abc rest") == "authorization=[redacted] rest");
  CHECK(masked("Cookie: a=1; token=2\nX: y") == "Cookie: [redacted]\nX: y");
  CHECK(masked("connect to postgresql://bank:p@ss@db:5432/x?y=1: refused") ==
        "connect to postgresql://bank:[redacted]@db:5432/x?y=1: refused");
  CHECK(masked("password=") == "password=");
  CHECK(masked("a=b: c") == "a=b: c");
  CHECK(masked("at http://127.0.0.1:80/x") == "at http://127.0.0.1:80/x");
  CHECK(masked("token=a token=b") == "token=[redacted] token=[redacted]");
  CHECK(masked("token=\"open") == "token=\"[redacted]");
  CHECK(masked(masked("password=x, secret: y")) == "password=[redacted], secret: [redacted]");
}
