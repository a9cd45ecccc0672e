// SPDX-License-Identifier: Apache-2.0
// Values and rows: exact types, checked ranges, names in errors.

#include <doctest/doctest.h>

#include <belay/db/error.hpp>
#include <belay/db/row.hpp>
#include <limits>

using namespace belay::db;

namespace {
row make_row(column_names names, std::vector<value> values) {
  return {std::make_shared<const column_names>(std::move(names)), std::move(values)};
}
template <class F>
std::string message_of(F call) {
  try {
    call();
  } catch (const type_error& e) {
    CHECK(e.kind() == belay::error_kind::internal);
    return e.what();
  }
  return "no error";
}
}  // namespace

TEST_CASE("value: what goes in, comes out as the same type and nothing else") {
  CHECK(value(7).as<int>() == 7);
  CHECK(value(std::numeric_limits<std::int64_t>::min()).as<std::int64_t>() ==
        std::numeric_limits<std::int64_t>::min());
  CHECK(value(2.5).as<double>() == 2.5);
  CHECK(value("text").as<std::string>() == "text");
  CHECK(value(std::string_view("a\0b", 3)).as<std::string>().size() == 3);
  CHECK(value(blob{std::byte{1}}).as<blob>() == blob{std::byte{1}});
  CHECK(value(true).as<bool>());
  CHECK(value(nullptr).is_null());
  CHECK(value(std::optional<int>()).is_null());
  CHECK(value(std::optional<int>(3)).as<int>() == 3);
  CHECK(value().as<std::optional<std::string>>() == std::nullopt);
  CHECK(value("x").as<std::optional<std::string>>() == "x");
  CHECK(value(7).as<value>() == value(7));

  CHECK(message_of([] { (void)value("7").as<int>("balance"); }) ==
        "read balance: expected integer, found text");
  CHECK(message_of([] { (void)value(7).as<double>("rate"); }) == "read rate: expected real, found integer");
  CHECK(message_of([] { (void)value(nullptr).as<std::string>("name"); }) ==
        "read name: expected text, found null");
  CHECK(message_of([] { (void)value("b").as<blob>("data"); }) == "read data: expected blob, found text");
}

TEST_CASE("value: integers, are checked against the range of the type") {
  CHECK(message_of([] { (void)value(300).as<std::uint8_t>("age"); }) ==
        "read age: 300 does not fit the type that was asked for");
  CHECK(message_of([] { (void)value(-1).as<std::uint64_t>("id"); }) ==
        "read id: -1 does not fit the type that was asked for");
  CHECK(message_of([] { (void)value(2).as<bool>("flag"); }) ==
        "read flag: 2 does not fit the type that was asked for");
  CHECK(message_of([] {
          value too_large(std::numeric_limits<std::uint64_t>::max());
        }).starts_with("bind 18446744073709551615"));
}

TEST_CASE("row: columns, are found by name and place; errors name what there is") {
  const row r = make_row({"id", "email"}, {7, "ada@example.org"});
  CHECK(r.get<int>("id") == 7);
  CHECK(r.get<std::string>(1) == "ada@example.org");
  const auto [id, email] = r.to_tuple<std::int64_t, std::string>();
  CHECK(id == 7);
  CHECK(email == "ada@example.org");
  CHECK(message_of([&] { (void)r.get<int>("mail"); }) == "read column mail: the row has only: id, email");
  CHECK(message_of([&] { (void)r.get<int>(2); }) == "read column 2: the row has 2 columns: id, email");
  CHECK(message_of([&] { (void)r.to_tuple<int>(); }) == "read row as 1 values: it has 2 columns: id, email");
  CHECK(message_of([&] { (void)r.get<int>("email"); }) == "read email: expected integer, found text");
  CHECK(message_of([] {
          (void)make_row({"id", "id"}, {1, 2}).get<int>("id");
        }).starts_with("read column id: two columns"));
}
