// SPDX-License-Identifier: Apache-2.0
// What FastAPI services are made of, in Belay: the code of docs/from-asyncio.md, part "Services".
//   ./from_fastapi     exit: 0
#include <belay/core/managed.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/db/error.hpp>
#include <belay/db/sqlite/database.hpp>
#include <belay/db/sqlite/migrate.hpp>
#include <belay/db/sqlite/transaction.hpp>
#include <belay/errors/error_type.hpp>
#include <belay/service/app.hpp>
#include <belay/service/typed.hpp>
#include <belay/telemetry/memory_sink.hpp>
#include <belay/testing/service_client.hpp>

#include <cstdio>
#include <string>
#include <vector>

namespace http = belay::http;
namespace service = belay::service;
namespace sqlite = belay::db::sqlite;
using namespace std::chrono_literals;
using belay::task;
using service::dep, service::json;
using database = service::resource<sqlite::database>;

// [snippet models]
struct user_create {  // class UserCreate(BaseModel): email: EmailStr
  std::string email;
};
void describe(http::fields<user_create>& f) {
  f.member<&user_create::email>({.min_length = 3, .max_length = 254});
}

struct user {
  std::int64_t id = 0;
  std::string email;
};
void describe(http::fields<user>& f) {
  f.member<&user::id>();
  f.member<&user::email>();
}
// [end]

// [snippet errors]
struct not_found : belay::error_type<belay::error_kind::not_found, "not_found"> {  // 404
  using error_type::error_type;
};
struct email_taken : belay::error_type<belay::error_kind::conflict, "email_taken"> {  // 409
  using error_type::error_type;
};
// [end]

// [snippet propagation]
// The repository: except IntegrityError: raise ConflictError(...). The rollback is not its affair.
task<user> insert_user(sqlite::connection& db, std::string email) {
  try {
    const auto row = co_await db.query_one("INSERT INTO users (email) VALUES (?) RETURNING id", email);
    co_return user{row->get<std::int64_t>("id"), email};
  } catch (const belay::db::constraint_error& broken) {
    if (!broken.names("users.email")) throw;
    throw email_taken("this address is taken");  // its cause() is `broken`: in the log, not in the answer
  }
}
// [end]

// [snippet timing]
belay::managed<belay::time_point> timing(std::string operation, belay::telemetry::logger log) {
  belay::time_point began = belay::now();
  const belay::exit_status how = co_yield began;  // finally: also after an error and a cancellation
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(belay::now() - began);
  if (took > 1s)
    log.warn("slow_operation",
             {{"operation", operation}, {"took_ms", took.count()}, {"succeeded", how.succeeded()}});
}
// [end]

task<> send_mail(std::string to) {
  co_await belay::sleep_for(30s);
  std::printf("  a mail to %s\n", to.c_str());
}
task<std::string> rate_of_another_service() {
  co_await belay::sleep_for(1h);
  co_return "1.08";
}

// [snippet routes]
void add_routes(service::routes at) {
  // @router.get("/users/{user_id}")
  at.get("/users/{id}", [](std::int64_t id, dep<sqlite::connection> db) -> task<user> {
    const auto row = co_await db->query_one("SELECT email FROM users WHERE id = ?", id);
    if (!row) throw not_found("there is no user " + std::to_string(id));
    co_return user{id, row->get<std::string>("email")};
  });

  // @router.post("/users"), background_tasks.add_task(send_welcome_email, user.email)
  at.post("/users",
          [](json<user_create> made, dep<sqlite::connection> db,
             service::request& asked) -> task<service::created<user>> {
            user added = co_await insert_user(*db, made->email);
            asked.run_after_response("welcome", [to = added.email]() -> task<> { co_await send_mail(to); });
            co_return service::created<user>{std::move(added)};
          });

  // async with asyncio.timeout(5): ... except TimeoutError: raise HTTPException(504)
  at.get("/rate", [](service::request& asked) -> task<std::string> {
    static_cast<void>(co_await belay::use(timing("rate", asked.log())));
    co_return co_await belay::with_timeout(5s, rate_of_another_service());
  });

  // def, not async def: in the thread pool
  at.get("/version", []() -> std::string { return "1.0"; });
}
// [end]

// [snippet lifespan]
struct begin_transaction {  // async with db.begin(): yield
  database db;
  BELAY_CORO_WRAPPER belay::managed<sqlite::connection> operator()() const {
    return sqlite::transaction(*db);
  }
};

void set_up(service::app& app) {
  const database db = app.manage("database", sqlite::open(":memory:"));  // init_db_pool, close_db_pool
  app.step("migrate", [db]() -> task<> {
    co_await sqlite::migrate(
        *db,
        {{1, "create users", "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE)"}});
  });
  app.worker("cleanup", belay::every(1min), [db]() -> task<> {  // create_task(periodic_cleanup())
    co_await db->execute("DELETE FROM users WHERE email LIKE '%@spam.example'");
  });
  app.provide<sqlite::connection>(begin_transaction{db});  // Depends(get_session)
  // @app.exception_handler(AppException); Exception is 500 already, with the trace id and nothing else
  app.on_error<not_found>(http::status::not_found, "not_found");
  app.on_error<email_taken>(http::status::conflict, "email_taken");
  add_routes(app.group("/api"));
}
// [end]

task<> talk(belay::testing::service_client& client) {
  const auto show = [](const belay::testing::service_answer& answer) {
    const bool problem = answer.status() >= 400;
    std::printf("  %d %s\n", answer.status(), (problem ? answer.text("/code") : answer.body()).c_str());
  };
  show(co_await client.post_json("/api/users", R"({"email":"ada@example.org"})"));
  co_await client.background();
  show(co_await client.post_json("/api/users", R"({"email":"ada@example.org"})"));
  show(co_await client.post_json("/api/users", R"({"email":"x"})"));
  show(co_await client.get("/api/users/1"));
  show(co_await client.get("/api/users/2"));
  show(co_await client.get("/api/rate"));
  show(co_await client.get("/api/version"));
}

int main() {
  const auto records = std::make_shared<belay::telemetry::memory_sink>();
  service::app app({.name = "users", .listen = {"127.0.0.1", 0}}, belay::telemetry::logger(records));
  set_up(app);
  std::puts("requests:");
  const int code = belay::testing::run_service(app, talk);
  std::puts("the log has:");
  for (const std::string& line : records->lines())
    if (line.find(R"("event":"slow_operation")") != std::string::npos) std::puts("  slow_operation");
  return code;
}
