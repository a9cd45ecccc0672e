// SPDX-License-Identifier: Apache-2.0
// Endpoints: reading and writing, and what is refused.

#include <belay/core/error.hpp>
#include <belay/io/endpoint.hpp>
#include <doctest/doctest.h>

using belay::io::endpoint;

TEST_CASE("endpoint: what parse reads, to_string writes") {
  for (const char* text : {"127.0.0.1:8080", "[::1]:1", "0.0.0.0:0", "[fe80::1%lo]:80"})
    CHECK(endpoint::parse(text).to_string() == text);
  CHECK(endpoint::parse("localhost:80") == endpoint{"127.0.0.1", 80});
}

TEST_CASE("endpoint: bad text is refused with what is wrong with it") {
  for (const char* text :
       {"", "8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:80x", "::1:80",
        "example.org:80", "[::1:80", "1.2.3:80", "[127.0.0.1]:80", "[::1%]:80", "[::1%0\r\nX: y]:80",
        "127.0.0.1%1:80", "1\n.0.0.1:80"}) {
    CAPTURE(text);
    CHECK_THROWS_WITH_AS(static_cast<void>(endpoint::parse(text)), doctest::Contains("expected ADDRESS:PORT"),
                         belay::error);
  }
  const std::string hidden("127.0.0.1\0\r\nX-Evil:80", 21);
  CHECK_THROWS_WITH_AS(static_cast<void>(endpoint::parse(hidden)),
                       doctest::Contains("'127.0.0.1???X-Evil:80'"), belay::error);
}
