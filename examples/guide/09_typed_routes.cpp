// SPDX-License-Identifier: Apache-2.0
// Typed routes: books over HTTP, with one transaction for each request. The guide's chapter 9.
//   ./09_typed_routes 127.0.0.1:8082     exit: 0 after Ctrl-C, 1 when it cannot start, 2 usage
#include <belay/core/all.hpp>
#include <belay/db/sqlite/database.hpp>
#include <belay/db/sqlite/migrate.hpp>
#include <belay/db/sqlite/transaction.hpp>
#include <belay/service/app.hpp>
#include <belay/service/typed.hpp>
#include <belay/telemetry/sink.hpp>

#include <cstdio>
#include <string>

namespace http = belay::http;
namespace sqlite = belay::db::sqlite;
namespace service = belay::service;
using belay::task;
using service::dep, service::header, service::json, service::query, service::rule;
using database = service::resource<sqlite::database>;

// [snippet types]
struct new_book {
  std::string title;
  std::vector<std::string> authors;
  std::optional<int> year;
};
void describe(http::fields<new_book>& f) {
  f.member<&new_book::title>({.min_length = 1, .max_length = 200});
  f.member<&new_book::authors>({.min_length = 1, .max_length = 10});
  f.member<&new_book::year>({.min = 1450, .max = 2100, .description = "Of the first edition"});
}

struct book {
  std::int64_t id = 0;
  std::string title;
};
void describe(http::fields<book>& f) {
  f.member<&book::id>();
  f.member<&book::title>();
}
// [end]

struct book_not_found : belay::error {
  explicit book_not_found(std::int64_t id, std::source_location where = std::source_location::current())
      : error(belay::error_kind::not_found, "book_not_found", "there is no book " + std::to_string(id),
              where) {}
};

// [snippet session]
// A transaction: commits when the handler succeeds, rolls back when it fails or is cancelled.
struct begin_transaction {
  database db;
  BELAY_CORO_WRAPPER belay::managed<sqlite::connection> operator()() const {
    return sqlite::transaction(*db);
  }
};

struct librarian {
  std::string name;
};

// Who asks. Needs nothing but the request, so it is a plain function.
librarian find_librarian(header<"Authorization", std::optional<std::string>> key) {
  if (key->value_or("") == "Bearer open-sesame") return {"Borges"};
  throw http::problem_error(http::status::unauthorized, "who_are_you", "this needs the key of a librarian");
}
// [end]

// [snippet routes]
void add_books(service::routes books) {
  books.get("/{id}", [](std::int64_t id, dep<sqlite::connection> db) -> task<book> {
    const auto found = co_await db->query_one("SELECT title FROM books WHERE id = ?", id);
    if (!found) throw book_not_found(id);
    co_return book{id, found->get<std::string>("title")};
  });

  books.get("",
            [](query<"limit", int, rule{.min = 1, .max = 100, .fallback = 20}> limit,
               dep<sqlite::connection> db) -> task<std::vector<book>> {
              const auto rows = co_await db->query("SELECT id, title FROM books ORDER BY id LIMIT ?", *limit);
              std::vector<book> all;
              for (const auto& row : rows)
                all.push_back({row.get<std::int64_t>("id"), row.get<std::string>("title")});
              co_return all;
            });

  books.post("",
             [](json<new_book> made, dep<librarian> who, dep<sqlite::connection> db,
                service::request& asked) -> task<service::created<book>> {
               const auto row =
                   co_await db->query_one("INSERT INTO books (title) VALUES (?) RETURNING id", made->title);
               const auto id = row->get<std::int64_t>("id");
               asked.log().info("book_added", {{"by", who->name}, {"id", id}});
               co_return service::created<book>{{id, made->title},
                                                {{"Location", "/books/" + std::to_string(id)}}};
             },
             {.summary = "Adds a book"});
}
// [end]

// [snippet main]
int serve(const belay::io::endpoint& listen) {
  const belay::telemetry::logger log(belay::telemetry::stderr_sink(),
                                     {.format = belay::telemetry::log_format::pretty});
  service::app_options options;
  options.name = "books";
  options.listen = listen;
  options.api = service::api_options{.title = "Books"};  // GET /openapi.json, GET /docs
  service::app app(options, log);

  const database db = app.manage("database", sqlite::open(":memory:"));
  app.step("migrate", [db]() -> task<> {
    co_await sqlite::migrate(
        *db, {{1, "create books", "CREATE TABLE books (id INTEGER PRIMARY KEY, title TEXT NOT NULL)"}});
  });

  app.provide<sqlite::connection>(begin_transaction{db});
  app.provide<librarian>(&find_librarian);
  app.on_error<book_not_found>(http::status::not_found, "book_not_found");
  app.use([](service::request&, service::next inner) -> task<http::response> {
    http::response answer = co_await inner.answer();  // errors, too, as they will be sent
    answer.headers.set("Cache-Control", "no-store");
    co_return answer;
  });
  add_books(app.group("/books", {.deadline = std::chrono::seconds(2), .tags = {"books"}}));
  return app.run();
}
// [end]

int main(int argc, char** argv) {
  try {
    return serve(belay::io::endpoint::parse(argc > 1 ? argv[1] : "127.0.0.1:8082"));
  } catch (const belay::error& e) {
    std::fprintf(stderr, "09_typed_routes: %s\n", e.what());
    return 2;
  }
}
