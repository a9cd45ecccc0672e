// SPDX-License-Identifier: Apache-2.0
// Connecting with libpq, without blocking.

#include "libpq_line.hpp"
#include "server_error.hpp"
#include "target.hpp"
#include <belay/core/failure.hpp>
#include <belay/core/outcome.hpp>
#include <belay/core/thread.hpp>
#include <belay/db/postgres/error.hpp>
#include <belay/io/use_task.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <fmt/format.h>
#include <charconv>

namespace belay::db::postgres::detail {

namespace asio = boost::asio;

namespace {

// libpq keeps the key for requests to cancel to itself, and its own call blocks without a limit. What it writes about the start of a
// connection (PQtrace) has it.
class key_listener {
 public:
  key_listener() : into_(open_memstream(&text_, &size_)) {
    if (into_ == nullptr) throw std::bad_alloc();
  }
  key_listener(const key_listener&) = delete;
  key_listener& operator=(const key_listener&) = delete;
  ~key_listener() {
    if (into_ != nullptr) std::fclose(into_);
    explicit_bzero(text_, size_);
    std::free(text_);
  }
  void listen(PGconn* to) {
    PQtrace(to, into_);
    PQsetTraceFlags(to, PQTRACE_SUPPRESS_TIMESTAMPS);
  }
  // "B	12	BackendKeyData	 26818 -1071562219"
  [[nodiscard]] std::optional<std::int32_t> end(PGconn* of) {
    PQuntrace(of);
    std::fclose(std::exchange(into_, nullptr));
    std::string_view rest(text_, size_);
    const auto at = rest.find("BackendKeyData");
    if (at == std::string_view::npos) return std::nullopt;
    rest = rest.substr(0, rest.find('\n', at));
    rest.remove_prefix(rest.rfind(' ') + 1);
    std::int32_t key = 0;
    const auto [last, problem] = std::from_chars(rest.data(), rest.data() + rest.size(), key);
    if (problem != std::errc() || last != rest.data() + rest.size()) return std::nullopt;
    return key;
  }

 private:
  char* text_ = nullptr;
  std::size_t size_ = 0;
  std::FILE* into_;
};

// Watches the socket of a connection in the making, which is libpq's, and may change.
class borrowed_socket {
 public:
  borrowed_socket() : watched_(io::context()) {}
  borrowed_socket(const borrowed_socket&) = delete;
  borrowed_socket& operator=(const borrowed_socket&) = delete;
  ~borrowed_socket() { let_go(); }
  asio::posix::stream_descriptor& at(int descriptor) {
    let_go();
    watched_.assign(descriptor);
    return watched_;
  }
  void let_go() {
    if (watched_.is_open()) watched_.release();
  }

 private:
  asio::posix::stream_descriptor watched_;
};

// Errors: of the connection. Some servers know nothing of the log (Amazon's Aurora).
task<std::string> ask_timeline(line& on) {
  std::vector<statement> ask;
  ask.push_back(
      {"SELECT CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END"});
  exchange_wait wait(on, step::script, std::move(ask));
  wait.dropped_when_stopped = true;
  outcome<void> how = co_await as_outcome([](exchange_wait& answer) -> task<> { co_await answer; }(wait));
  if (how.failed()) {
    const failure why = how.failure();
    if (!on.usable()) co_await fail(why);
    why.observe();
    co_return "?";
  }
  if (wait.results.empty() || wait.results[0].rows.empty()) co_return "?";
  co_return wait.results[0].rows[0].get<std::optional<std::string>>(0).value_or("");
}

class libpq_connector final : public connector {
 public:
  libpq_connector(target where, options settings)
      : where_(std::move(where)), settings_(std::move(settings)) {}
  [[nodiscard]] const std::string& name() const noexcept override { return where_.name; }

  task<std::shared_ptr<line>> connect() override {
    std::vector<std::pair<std::string, std::string>> words = where_.words;
    if (!where_.hosts.empty())
      words = co_await to_thread(abandon("look up the hosts of a database"), &with_addresses, where_);
    std::vector<const char*> keys;
    std::vector<const char*> values;
    for (const auto& [key, value] : words) {
      keys.push_back(key.c_str());
      values.push_back(value.c_str());
    }
    keys.push_back(nullptr);
    values.push_back(nullptr);
    key_listener listener;
    const auto ignore_notices = [](void*, const PGresult*) {};
    pg_connection made(PQconnectStartParams(keys.data(), values.data(), 0));
    if (!made) throw std::bad_alloc();
    if (PQstatus(made.get()) == CONNECTION_BAD) refuse(made.get());
    PQsetNoticeReceiver(made.get(), ignore_notices, nullptr);
    listener.listen(made.get());
    borrowed_socket socket;  // goes before the connection
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    while (next != PGRES_POLLING_OK) {
      const auto side = next == PGRES_POLLING_READING ? asio::posix::stream_descriptor::wait_read
                                                      : asio::posix::stream_descriptor::wait_write;
      const int descriptor = PQsocket(made.get());
      if (descriptor < 0) refuse(made.get());
      // How the wait ended, libpq sees itself.
      static_cast<void>(co_await socket.at(descriptor).async_wait(side, io::use_result));
      socket.let_go();
      next = PQconnectPoll(made.get());
      if (next == PGRES_POLLING_FAILED) refuse(made.get());
    }
    const std::optional<std::int32_t> key = listener.end(made.get());
    if (!key) {
      throw connection_error(error_kind::internal, "server_away",
                             fmt::format("database {}: connect: the server gives no key to cancel statements "
                                         "with, or libpq is too new",
                                         name()));
    }
    std::shared_ptr<line> ready = make_libpq_line(std::move(made), name(), settings_, *key);
    ready->timeline = co_await ask_timeline(*ready);
    co_return ready;
  }

 private:
  [[noreturn]] void refuse(const PGconn* failed) const {
    const std::string why = one_line(PQerrorMessage(failed));
    // A failed login has no SQLSTATE in this interface, only words, which are translated in part.
    error_kind kind = error_kind::unavailable;
    const char* code = "server_away";
    if (why.find("password") != std::string::npos || why.find("pg_hba.conf") != std::string::npos ||
        why.find("role \"") != std::string::npos) {
      kind = error_kind::unauthenticated;
      code = "login_refused";
    } else if (why.find("too many clients") != std::string::npos ||
               why.find("remaining connection slots") != std::string::npos ||
               why.find("too many connections") != std::string::npos) {
      kind = error_kind::overloaded;
      code = "too_many_connections";
    } else if (why.find("FATAL: database \"") != std::string::npos) {
      kind = error_kind::not_found;
      code = "no_such_database";
    }
    throw connection_error(kind, code, fmt::format("database {}: connect: {}", name(), why));
  }

  const target where_;
  const options settings_;
};

}  // namespace

std::shared_ptr<connector> connect_with_libpq(const std::string& url, const options& settings) {
  return std::make_shared<libpq_connector>(read_target(url), settings);
}

}  // namespace belay::db::postgres::detail
