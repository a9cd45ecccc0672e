// SPDX-License-Identifier: Apache-2.0
// Rows as structs: by name, nulls, enums, and what is said when columns and members do not fit.

#include <belay/db/described.hpp>
#include <chrono>

#include "support.hpp"

using namespace belay;
using namespace belay::db;
using namespace db_test;

namespace shop {

enum class state { open, frozen };
void describe(enum_names<state>& e) {
  e.add(state::open, "open");
  e.add(state::frozen, "frozen");
}

struct account {
  std::int64_t id = 0;
  std::string owner;
  std::optional<double> limit;
  state now = state::open;
  std::optional<state> before;
  bool vip = false;
};
void describe(columns<account>& c) {
  c.member<&account::id>();
  c.member<&account::owner>("owner_name");
  c.member<&account::limit>();
  c.member<&account::now>();
  c.member<&account::before>();
  c.member<&account::vip>();
}

struct total {
  std::int64_t sum = 0;
};
void describe(columns<total>& c) {
  c.member<&total::sum>();
  c.ignore_others();
}

struct stamp {
  std::chrono::sys_seconds at;
};
void describe(columns<stamp>& c) { c.member<&stamp::at>(); }

// One function for this and for other descriptions of the same shape.
struct small {
  int a = 0;
};
template <class Description>
  requires requires(Description& d) { d.template member<&small::a>(); }
void describe(Description& d) {
  d.template member<&small::a>();
}

}  // namespace shop

template <>
struct belay::db::column_value<std::chrono::sys_seconds> {
  static std::chrono::sys_seconds from(const value& found, std::string_view what) {
    return std::chrono::sys_seconds(std::chrono::seconds(found.as<std::int64_t>(what)));
  }
};

namespace {

rows answer(column_names names, std::vector<std::vector<value>> values) {
  const auto shared = std::make_shared<const column_names>(std::move(names));
  std::vector<row> all;
  for (auto& one : values) all.emplace_back(shared, std::move(one));
  return {shared, std::move(all)};
}

const column_names account_columns{"vip", "id", "owner_name", "limit", "now", "before"};

template <class F>
std::string error_text(F read) {
  try {
    static_cast<void>(read());
  } catch (const type_error& e) {
    CHECK(e.code() == "type_mismatch");
    return e.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("as: columns by name in any order, null as none, enums by name") {
  const auto all = answer(account_columns,
                          {{1, 7, "ann", 2.5, "frozen", nullptr}, {0, 8, "bob", nullptr, "open", "frozen"}})
                       .as<shop::account>();
  REQUIRE(all.size() == 2);
  CHECK(all[0].id == 7);
  CHECK(all[0].owner == "ann");
  CHECK(all[0].limit == 2.5);
  CHECK(all[0].now == shop::state::frozen);
  CHECK_FALSE(all[0].before);
  CHECK(all[0].vip);
  CHECK_FALSE(all[1].limit);
  CHECK(all[1].before == shop::state::frozen);
  const rows one = answer({"a"}, {{5}});
  CHECK(one[0].as<shop::small>().a == 5);
}

TEST_CASE(
    "as: columns that are missing, too many, or there twice, are named all at once, also without rows") {
  CHECK(
      error_text(
          [] { return answer({"id", "id", "name", "limit", "now", "vip"}, {}).as<shop::account>(); }) ==
      "read rows as account: the query gives no column owner_name, before; account has no member for column name; two "
      "columns are called id; name the columns in the query, or describe them; it gives: id, id, name, limit, now, vip");
  CHECK(answer({"sum", "more"}, {{3, 4}}).as<shop::total>()[0].sum == 3);
  CHECK(rows().as<shop::account>().empty());
}

TEST_CASE("as: a value of another type, a null that may not be, an unknown name: the error says where") {
  const auto read = [](std::vector<value> values) {
    return error_text([&] { return answer(account_columns, {values}).as<shop::account>(); });
  };
  CHECK(read({1, "7", "ann", nullptr, "open", nullptr}) == "read account.id: expected integer, found text");
  CHECK(read({1, 7, nullptr, nullptr, "open", nullptr}) ==
        "read account.owner_name: expected text, found null");
  CHECK(read({2, 7, "ann", nullptr, "open", nullptr}) ==
        "read account.vip: 2 does not fit the type that was asked for");
  CHECK(read({1, 7, "ann", nullptr, "shut", nullptr}) ==
        "read account.now: 'shut' is no state: expected one of open, frozen");
  CHECK(read({1, 7, "ann", nullptr, 1, nullptr}) == "read account.now: expected text, found integer");
}

TEST_CASE("as: a type of the program that says how it is read; the name of an enum, to be written") {
  CHECK(answer({"at"}, {{86400}}).as<shop::stamp>()[0].at ==
        std::chrono::sys_seconds(std::chrono::hours(24)));
  CHECK(name_of(shop::state::frozen) == "frozen");
  CHECK(name_of(static_cast<shop::state>(9)).empty());
}

TEST_CASE("as: what a real query gives") {
  run([]() -> task<> {
    sqlite::database& d = co_await use(sqlite::open(":memory:"));
    co_await d.execute(
        "CREATE TABLE accounts (id INTEGER PRIMARY KEY, owner_name TEXT, \"limit\" REAL, now TEXT, before TEXT, vip INTEGER)");
    co_await d.execute("INSERT INTO accounts VALUES (1, 'ann', NULL, ?, NULL, 0)",
                       name_of(shop::state::open));
    const auto found = (co_await d.query("SELECT * FROM accounts")).as<shop::account>();
    REQUIRE(found.size() == 1);
    CHECK(found[0].owner == "ann");
    const auto one = co_await d.query_one("SELECT count(*) AS sum FROM accounts");
    CHECK(one->as<shop::total>().sum == 1);
  });
}
