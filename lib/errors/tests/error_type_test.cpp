// SPDX-License-Identifier: Apache-2.0
// One's own error types.

#include <belay/errors/classify.hpp>
#include <doctest/doctest.h>

#include <type_traits>

#include "support.hpp"

using namespace errors_tests;

namespace {

static_assert(std::is_nothrow_copy_constructible_v<user_not_found>);
static_assert(std::is_base_of_v<network_error, dns_error>);
static_assert(user_not_found::type_code == "user_not_found");
static_assert(dns_error::type_kind == b::error_kind::invalid);

template <class F>
b::failure failure_of(F run) {
  try {
    run();
  } catch (...) {
    return b::current_failure();
  }
  return {};
}

}  // namespace

TEST_CASE("error_type: kind and code belong to the type, message, place and details to the error") {
  const user_not_found e("there is no user 7", {{"user", 7}, {"name", "Ann"}});
  const auto here = std::source_location::current();
  CHECK(e.kind() == b::error_kind::not_found);
  CHECK(e.code() == "user_not_found");
  CHECK(std::string(e.what()) == "there is no user 7");
  CHECK(e.where().line() + 1 == here.line());
  CHECK(std::string(e.where().file_name()) == here.file_name());
  REQUIRE(e.details().find("user") != nullptr);
  CHECK(*e.details().find("user")->get<std::int64_t>() == 7);
  CHECK(e.details().find("name")->text() == "Ann");
  CHECK(e.details().find("nobody") == nullptr);
}

TEST_CASE("error_type: a derived type has a kind and a code of its own, and is caught as its base") {
  try {
    throw dns_error("no such host", {{"host", "db"}});
  } catch (const network_error& e) {
    CHECK(e.kind() == b::error_kind::invalid);
    CHECK(e.code() == "dns");
    CHECK(e.details().size() == 1);
  }
  const network_error given(b::error_kind::timed_out, "slow_network", "too slow");
  CHECK(given.kind() == b::error_kind::timed_out);
  CHECK(given.code() == "slow_network");
}

TEST_CASE("error_type: with_details and with_retry_after keep the type of what is thrown") {
  const b::failure what = failure_of(
      [] { throw b::with_retry_after(b::with_details(dns_error("none", {{"a", 1}}), {{"b", 2}}), 3s); });
  REQUIRE(what.find<dns_error>() != nullptr);
  CHECK(what.find<dns_error>()->details().size() == 2);
  CHECK(what.find<dns_error>()->retry_after() == std::optional<b::duration>(3s));
  CHECK(b::classify(what).retry_after == std::optional<b::duration>(3s));
}
