// SPDX-License-Identifier: Apache-2.0
// A service: notes over HTTP, kept in SQLite. The guide's chapter 6.
//   ./06_a_service 127.0.0.1:8081     exit: 0 after Ctrl-C, 1 when it cannot start, 2 usage
#include <belay/core/all.hpp>
#include <belay/db/sqlite/database.hpp>
#include <belay/db/sqlite/migrate.hpp>
#include <belay/db/sqlite/transaction.hpp>
#include <belay/http/json_text.hpp>
#include <belay/http/validation.hpp>
#include <belay/service/app.hpp>
#include <belay/telemetry/sink.hpp>

#include <cstdio>
#include <string>

namespace http = belay::http;
namespace sqlite = belay::db::sqlite;
using belay::task;
using belay::service::request;
using database = belay::service::resource<sqlite::database>;

// [snippet error]
struct note_not_found : belay::error {
  explicit note_not_found(std::int64_t id, std::source_location where = std::source_location::current())
      : error(belay::error_kind::not_found, "note_not_found", "there is no note " + std::to_string(id),
              where) {}
};
// [end]

std::string to_json(const belay::db::row& note) {
  return "{\"id\":" + std::to_string(note.get<std::int64_t>("id")) +
         ",\"text\":" + http::to_json_string(note.get<std::string>("text")) + "}";
}

// [snippet get]
task<http::response> get_note(request& asked, const database& db) {
  http::validation check;
  const std::int64_t id = asked.path_id("id", check);
  check.finish();  // 422 with all that is wrong
  const auto note = co_await db->query_one("SELECT id, text FROM notes WHERE id = ?", id);
  if (!note) throw note_not_found(id);
  co_return http::response::json(http::status::ok, to_json(*note));
}
// [end]

// [snippet post]
task<http::response> add_note(request& asked, const database& db) {
  http::validation check;
  http::json_reader body(asked.http(), check);
  const std::string text = body.required_string("text", {.min_length = 1, .max_length = 1000});
  check.finish();
  asked.run_after_response("count", [db, log = asked.log()]() -> task<> {
    const auto count = co_await db->query_one("SELECT count(*) AS n FROM notes");
    log.info("notes_counted", {{"notes", count->get<std::int64_t>("n")}});
  });
  const auto made = co_await belay::with(
      sqlite::transaction(*db), [&](sqlite::connection& c) -> task<std::optional<belay::db::row>> {
        co_return co_await c.query_one("INSERT INTO notes (text) VALUES (?) RETURNING id, text", text);
      });
  co_return http::response::json(http::status::created, to_json(*made));
}
// [end]

// [snippet main]
int serve(const belay::io::endpoint& listen) {
  const belay::telemetry::logger log(belay::telemetry::stderr_sink(),
                                     {.format = belay::telemetry::log_format::pretty});
  belay::service::app app({.name = "notes", .listen = listen}, log);

  const database db = app.manage("database", sqlite::open(":memory:"));
  app.step("migrate", [db]() -> task<> {
    co_await sqlite::migrate(
        *db, {{1, "create notes", "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)"}});
  });

  app.on_error<note_not_found>(http::status::not_found, "note_not_found");
  app.get("/notes/{id}", [db](request& r) -> task<http::response> { co_return co_await get_note(r, db); });
  app.post("/notes", [db](request& r) -> task<http::response> { co_return co_await add_note(r, db); });
  return app.run();
}
// [end]

int main(int argc, char** argv) {
  try {
    return serve(belay::io::endpoint::parse(argc > 1 ? argv[1] : "127.0.0.1:8081"));
  } catch (const belay::error& e) {
    std::fprintf(stderr, "06_a_service: %s\n", e.what());
    return 2;
  }
}
