// SPDX-License-Identifier: Apache-2.0
#pragma once
// One connection to a server, as the rest of the driver sees it: one exchange at a time, which can be asked to stop. Tests put their own
// behind it.

#include <belay/core/operation.hpp>
#include <belay/core/task.hpp>
#include <belay/db/postgres/connection.hpp>
#include <belay/db/postgres/options.hpp>
#include <algorithm>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "session_state.hpp"

namespace belay::db::postgres::detail {

enum class step : unsigned char {
  batch,      // `statements`, sent together
  script,     // the text of the one statement, without parameters
  copy_in,    // opens a COPY … FROM STDIN
  copy_out,   // opens a COPY … TO STDOUT
  get_chunk,  // of copy_out; an empty chunk: that was all
  put_chunk,  // of copy_in
  end_copy,   // of copy_in; with a chunk: gives it up, for that reason. Of copy_out: gives the rest up.
};

// What is wanted of a line, and what came of it.
class exchange {
 public:
  exchange() = default;
  exchange(const exchange&) = delete;
  exchange& operator=(const exchange&) = delete;

  step what = step::batch;
  std::vector<statement> statements;
  std::size_t leading = 0;  // so many of them are done also when the next one cannot be sent
  std::string chunk;
  bool dropped_when_stopped = false;  // the connection is not worth the wait for a cancellation

  std::vector<result> results;
  std::vector<std::string> tags;  // "COMMIT", "INSERT 0 1"
  std::exception_ptr error;       // the first one
  // It was asked to stop, and did: it gave nothing.
  bool stopped = false;

  // Once, on the loop's thread.
  virtual void ended() noexcept = 0;

 protected:
  ~exchange() = default;
};

// Where the server says that the connection is.
enum class transaction_state : unsigned char { none, open, failed };

struct notice_of_channel {
  std::string channel;
  std::string payload;
  int sender = 0;
};

// Thread: the loop's only.
class line {
 public:
  line() = default;
  line(const line&) = delete;
  line& operator=(const line&) = delete;
  virtual ~line() = default;  // closes now, without waiting

  // Begins one; only when none is under way. It ends by `ended`, perhaps at once.
  virtual void start(exchange& one) = 0;
  // Asks the one under way to end early. It ends within `options::cancel_limit`, never inside of this call: with its result, if that was
  // there; otherwise as stopped. The line is clean afterwards, or not usable any more.
  virtual void stop(exchange& one) noexcept = 0;
  // Closes now. What is under way ends with an error.
  virtual void drop() noexcept = 0;

  [[nodiscard]] virtual bool usable() const noexcept = 0;
  [[nodiscard]] virtual transaction_state transaction() const noexcept = 0;
  // The number of the server's process.
  [[nodiscard]] virtual int backend() const noexcept = 0;

  // The server's timeline, which a failover changes, as it was when the connection was made; empty: a standby; "?": it does not tell.
  std::string timeline;

  // What came for LISTEN, kept while there is somebody to be told; `told` is called when there is something new, and when the connection is lost.
  std::deque<notice_of_channel> heard;
  std::function<void()> told;
  // By all statements so far, since the last reset.
  leaving left = leaving::nothing;
};

// How lines are made. Lives longer than they.
class connector {
 public:
  connector() = default;
  connector(const connector&) = delete;
  connector& operator=(const connector&) = delete;
  virtual ~connector() = default;
  // Errors: connection_error. Cancellation: gives up.
  virtual task<std::shared_ptr<line>> connect() = 0;
  // For messages.
  [[nodiscard]] virtual const std::string& name() const noexcept = 0;
};

// Awaits one exchange.
class exchange_wait final : public operation, public exchange {
 public:
  exchange_wait(line& on, step kind, std::vector<statement> all = {}, std::string part = {}) : on_(&on) {
    what = kind;
    statements = std::move(all);
    chunk = std::move(part);
    for (const statement& one : statements) on.left = std::max(on.left, left_by(one.sql));
  }
  [[nodiscard]] awaited waits_for() const noexcept override { return {"PostgreSQL", ""}; }
  // The exchange, which lives as long as the awaiter.
  exchange& await_resume() {
    if (error) std::rethrow_exception(error);
    return *this;
  }
  void ended() noexcept override {
    if (stopped && being_aborted()) {
      complete_cancelled();
    } else {
      complete();
    }
  }

 private:
  void start() override { on_->start(*this); }
  bool abort() noexcept override {
    on_->stop(*this);
    return false;
  }
  line* on_;
};

// Makes lines of libpq. Errors: db::error (invalid) for a URL that cannot be read.
[[nodiscard]] std::shared_ptr<connector> connect_with_libpq(const std::string& url, const options& settings);

}  // namespace belay::db::postgres::detail
