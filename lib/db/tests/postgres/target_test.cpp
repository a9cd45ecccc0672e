// SPDX-License-Identifier: Apache-2.0
// Where a database is, from its URL and the environment; names of hosts are never left to libpq, which would block on them.

#include <doctest/doctest.h>

#include <belay/db/postgres/error.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "postgres/target.hpp"

using belay::db::postgres::detail::read_target;
using belay::db::postgres::detail::target;
using belay::db::postgres::detail::with_addresses;

namespace {

// A variable of the environment, for one test.
class variable {
 public:
  variable(const char* name, const std::string& value) : name_(name) { ::setenv(name, value.c_str(), 1); }
  variable(const variable&) = delete;
  variable& operator=(const variable&) = delete;
  ~variable() { ::unsetenv(name_); }

 private:
  const char* name_;
};

using words = std::vector<std::pair<std::string, std::string>>;

std::string word(const words& all, const std::string& key) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.first == key; });
  return found == all.end() ? "(none)" : found->second;
}

std::string code_of(const std::string& url) {
  try {
    static_cast<void>(read_target(url));
  } catch (const belay::db::error& why) {
    return std::string(why.code());
  }
  return "";
}

}  // namespace

TEST_CASE(
    "postgres target: hosts of the environment are looked up by us, not by libpq on the loop's thread") {
  {
    const variable host("PGHOST", "db.internal,10.0.0.7");
    const variable port("PGPORT", "5433,5434");
    const target found = read_target("postgresql:///bank");
    CHECK(found.hosts == std::vector<std::string>{"db.internal", "10.0.0.7"});
    CHECK(word(found.words, "host") == "db.internal,10.0.0.7");
    CHECK(word(found.words, "port") == "5433,5434");
    CHECK(found.name.find("db.internal") != std::string::npos);
    // What the URL says wins.
    CHECK(read_target("postgresql://elsewhere/bank").hosts == std::vector<std::string>{"elsewhere"});
    CHECK(read_target("postgresql://127.0.0.1/bank").hosts.empty());
  }
  {
    const variable host("PGHOST", "db.internal");
    const variable address("PGHOSTADDR", "10.0.0.7");
    const target found = read_target("postgresql:///bank");
    CHECK(found.hosts.empty());  // libpq has the address
    CHECK(word(found.words, "hostaddr") == "10.0.0.7");
  }
  CHECK(read_target("postgresql:///bank").hosts.empty());  // the local socket
}

TEST_CASE("postgres target: so are those of a service's file; a service in the URL is refused") {
  const std::string file = std::string(std::tmpnam(nullptr)) + ".conf";  // NOLINT(cert-msc50-cpp): of a test
  std::ofstream(file) << "[bank]\nhost=db.internal\nport=6000\n";
  const variable services("PGSERVICEFILE", file);
  CHECK(code_of("postgresql:///?service=bank") == "bad_database_url");
  const variable service("PGSERVICE", "bank");
  const target found = read_target("postgresql:///bank");
  CHECK(found.hosts == std::vector<std::string>{"db.internal"});
  CHECK(word(found.words, "port") == "6000");
  std::remove(file.c_str());
}

TEST_CASE("postgres target: a host that cannot be looked up is left out when there are others") {
  const std::string nowhere(70, 'x');  // longer than a name may be: nobody is asked
  const words both = with_addresses(read_target("postgresql://" + nowhere + ":5433,localhost:5434/bank"));
  CHECK(word(both, "host").find(nowhere) == std::string::npos);
  CHECK(word(both, "host").starts_with("localhost"));
  CHECK(word(both, "port").starts_with("5434"));
  CHECK_FALSE(word(both, "hostaddr").empty());
  CHECK_THROWS_AS(static_cast<void>(with_addresses(read_target("postgresql://" + nowhere + "/bank"))),
                  belay::db::postgres::connection_error);
}
