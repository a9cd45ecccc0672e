// SPDX-License-Identifier: Apache-2.0
// Which rule, and which error, decides.

#include <belay/errors/error_table.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <array>

#include "support.hpp"

using namespace errors_tests;

namespace {

struct animal : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct dog : animal {
  using animal::animal;
};
struct puppy : dog {
  using dog::dog;
};
struct swims {};
struct otter : animal, swims {
  using animal::animal;
};
struct http_error : b::error {
  int status;
  explicit http_error(int of) : error("http"), status(of) {}
};
struct gone_error : http_error {
  gone_error() : http_error(410) {}
};

template <class E>
b::failure made(E what) {
  b::failure one = b::failure::of(std::make_exception_ptr(std::move(what)));
  one.observe();
  return one;
}
std::string found(const b::error_table<std::string>& table, const b::failure& what) {
  const auto match = table.find(what);
  return match ? match->value : "none";
}

}  // namespace

TEST_CASE("error_table: the most derived type wins, in whatever order they were added") {
  std::array<int, 4> order{0, 1, 2, 3};
  do {
    CAPTURE(order);
    b::error_table<std::string> table;
    for (const int which : order) {
      if (which == 0) table.on<std::exception>("std");
      if (which == 1) table.on<animal>("animal");
      if (which == 2) table.on<dog>("dog");
      if (which == 3) table.on<puppy>("puppy");
    }
    CHECK(found(table, made(std::logic_error("x"))) == "std");
    CHECK(found(table, made(animal("x"))) == "animal");
    CHECK(found(table, made(dog("x"))) == "dog");
    CHECK(found(table, made(puppy("x"))) == "puppy");
    CHECK(found(table, made(otter("x"))) == "animal");
    CHECK(found(table, made(3)) == "none");
  } while (std::ranges::next_permutation(order).found);
}

TEST_CASE(
    "error_table: of bases that are strangers to each other the one added first; types that are no classes too") {
  b::error_table<std::string> table;
  table.on<swims>("swims");
  table.on<animal>("animal");
  table.on<int>("int");
  table.on<const char*>("text");
  CHECK(found(table, made(otter("x"))) == "swims");
  CHECK(found(table, made(1)) == "int");
  CHECK(found(table, made(static_cast<const char*>("x"))) == "text");
}

TEST_CASE("error_table: a second rule for the same replaces the first [row 411]") {
  b::error_table<std::string> table;
  table.on<dog>("first");
  table.on<animal>("animal");
  table.on<dog>("second");
  table.on_code("broken", "first code");
  table.on_code("broken", "second code");
  table.on_kind(b::error_kind::not_found, "first kind");
  table.on_kind(b::error_kind::not_found, "second kind");
  table.otherwise("first default");
  table.otherwise("second default");
  CHECK(found(table, made(dog("x"))) == "second");
  CHECK(found(table, made(broken("x"))) == "second code");
  CHECK(found(table, made(user_not_found("x"))) == "second kind");
  CHECK(found(table, made(1)) == "second default");
}

TEST_CASE("error_table: status before type, type before code, code before kind [row 405]") {
  b::error_table<std::string> table;
  table.status_of<http_error>([](const http_error& e) { return e.status; });
  table.on_kind(b::error_kind::internal, "kind");
  CHECK(found(table, made(gone_error())) == "kind");
  table.on_code("broken", "code");
  CHECK(found(table, made(broken("x"))) == "code");
  table.on<broken>("broken");
  CHECK(found(table, made(broken("x"))) == "broken");
  table.on<gone_error>("gone");
  CHECK(found(table, made(gone_error())) == "gone");
  table.on_status(410, "410");
  CHECK(found(table, made(gone_error())) == "410");
  CHECK(found(table, made(http_error(404))) == "kind");
}

TEST_CASE(
    "error_table: the error itself is asked first, then what is attached in order, not what was replaced") {
  b::error_table<std::string> table;
  table.on<dog>("dog");
  table.on<otter>("otter");
  table.on_kind(b::error_kind::not_found, "not found");
  b::failure first = made(std::runtime_error("first"));
  b::failure nested = made(std::runtime_error("nested"));
  nested.attach(made(otter("deep")));
  first.attach(nested);
  first.attach(made(dog("second")));
  const auto match = table.find(first);
  REQUIRE(match);
  CHECK(match->value == "dog");  // beside the first, before what is attached to those beside it
  CHECK(match->leaf.message() == "second");

  // A name on an attached error is asked before the kind of the error itself.
  b::failure missing = made(user_not_found("x"));
  CHECK(found(table, missing) == "not found");
  missing.attach(made(otter("y")));
  CHECK(found(table, missing) == "otter");

  try {
    throw dog("replaced");
  } catch (const dog&) {
    CHECK(found(table, made(broken("by this"))) == "none");
  }
  CHECK_FALSE(table.find(b::failure()));
}

TEST_CASE("error_table: the default does not take what is fatal; who names it does [row 415]") {
  b::error_table<std::string> table;
  table.otherwise("default");
  table.on_kind(b::error_kind::internal, "internal");
  table.on_kind(b::error_kind::overloaded, "overloaded");
  CHECK(found(table, made(std::bad_alloc())) == "none");
  CHECK(found(table, made(b::misuse_error("x"))) == "none");
  CHECK(found(table, made(broken("x"))) == "internal");
  CHECK(found(table, made(network_error("x"))) == "default");
  b::failure both = made(network_error("x"));
  both.attach(made(std::bad_alloc()));
  CHECK(found(table, both) == "none");
  table.on<std::bad_alloc>("memory");
  CHECK(found(table, made(std::bad_alloc())) == "memory");
}

TEST_CASE("error_table: looking for a rule observes nothing; an empty code is refused") {
  b::testing::test_loop loop;
  b::error_table<std::string> table;
  table.on<dog>("dog");
  CHECK_THROWS_AS(table.on_code("", "x"), b::misuse_error);
  loop.run([&]() -> b::task<> {
    b::failure first = b::failure::of(std::make_exception_ptr(animal("first")));
    first.attach(b::failure::of(std::make_exception_ptr(dog("second"))));
    CHECK(found(table, first) == "dog");
    co_return;
  }());
  REQUIRE(loop.lost_errors().size() == 1);  // told with what is attached
  CHECK(contains(loop.lost_errors()[0], "second"));
}
