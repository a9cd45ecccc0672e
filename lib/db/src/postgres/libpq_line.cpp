// SPDX-License-Identifier: Apache-2.0
// A line on libpq's non-blocking calls: Asio tells when the socket is ready, libpq reads, writes and understands.

#include <fmt/format.h>

#include <belay/core/failure.hpp>
#include <belay/db/postgres/error.hpp>
#include <belay/io/use_task.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <algorithm>
#include <charconv>

#include "cancel_request.hpp"
#include "libpq_line.hpp"
#include "server_error.hpp"
#include "statement_cache.hpp"
#include "text_format.hpp"

namespace belay::db::postgres::detail {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

struct clear_result {
  void operator()(PGresult* all) const noexcept { PQclear(all); }
};
using pg_result = std::unique_ptr<PGresult, clear_result>;

// Between requests to cancel the same statement; doubled each time.
constexpr std::chrono::milliseconds first_request_pause(20);
constexpr std::chrono::milliseconds longest_request_pause(500);

std::string_view field(const PGresult* of, int which) {
  const char* text = PQresultErrorField(of, which);
  return text == nullptr ? std::string_view() : std::string_view(text);
}

class libpq_line final : public line, public std::enable_shared_from_this<libpq_line> {
 public:
  libpq_line(pg_connection open, std::string name, const options& settings, std::int32_t cancel_key)
      : name_(std::move(name)),
        settings_(settings),
        cancel_key_(cancel_key),
        cache_(settings.cached_statements),
        conn_(std::move(open)),
        socket_(io::context(), PQsocket(conn_.get())),
        patience_(io::context()),
        once_more_(io::context()) {
    PQsetnonblocking(conn_.get(), 1);
    PQsetNoticeReceiver(conn_.get(), &libpq_line::on_notice, this);
  }
  ~libpq_line() override { close(); }

  // After its making, when it can be pointed to.
  void begin() { watch_reading(); }

  void start(exchange& one) override;
  void stop(exchange& one) noexcept override;
  void drop() noexcept override;

  [[nodiscard]] bool usable() const noexcept override {
    return conn_ && PQstatus(conn_.get()) == CONNECTION_OK && copying_ == copying::no && !unclean_;
  }
  [[nodiscard]] transaction_state transaction() const noexcept override {
    switch (conn_ ? PQtransactionStatus(conn_.get()) : PQTRANS_UNKNOWN) {
      case PQTRANS_IDLE: return transaction_state::none;
      case PQTRANS_INTRANS: return transaction_state::open;
      default: return transaction_state::failed;
    }
  }
  [[nodiscard]] int backend() const noexcept override { return conn_ ? PQbackendPID(conn_.get()) : 0; }

 private:
  // out_over: all data has come, the server's last word has not.
  enum class copying : unsigned char { no, in, out, out_over };
  // What of a batch is answered next.
  struct expected {
    enum class part : unsigned char { preparing, running, forgetting } what;
    std::size_t index;
  };

  void close() noexcept;
  void watch_reading();
  void watch_writing();
  void readable(const error_code& problem) noexcept;
  void writable(const error_code& problem) noexcept;
  void flush();
  void advance();
  void lost(std::string_view why) noexcept;
  void broken_by(std::exception_ptr what) noexcept;

  void start_batch(exchange& one);
  void make_room(exchange& one);
  void send_one(exchange& one, std::size_t index);
  void require_sent(int sent);
  void start_simple(exchange& one);
  void read_batch();
  void read_simple();
  void read_chunk();
  void end_copy_in();
  void take_result(const PGresult* got, std::size_t index);
  void take_error(const PGresult* got, std::string_view doing);
  void answered();
  void finish() noexcept;
  void give_up_waiting() noexcept;
  void request_cancel() noexcept;
  void request_again_later();
  void cannot_cancel();
  void leave_pipeline();
  void hear();
  [[nodiscard]] std::string doing() const;
  static void on_notice(void* self, const PGresult* notice);

  const std::string name_;
  const options settings_;
  const std::int32_t cancel_key_;
  statement_cache cache_;
  pg_connection conn_;
  asio::posix::stream_descriptor socket_;
  asio::steady_timer patience_;
  asio::steady_timer once_more_;  // until a request to cancel is repeated
  std::chrono::milliseconds next_request_{};
  std::shared_ptr<cancel_request> cancelling_;

  exchange* current_ = nullptr;
  std::deque<expected> expected_;
  copying copying_ = copying::no;
  bool unclean_ = false;
  bool answered_ = false;       // all of the server's answer to the current exchange is here
  bool stopping_ = false;       // the current exchange was asked to stop
  bool cancel_settled_ = true;  // no request to cancel is on its way
  bool barrier_ = false;        // the empty statement behind a cancellation is under way
  bool seen_ = false;           // something of the first of `expected_`
  unsigned syncs_ = 0;          // ends of pipelines that are still to come
  unsigned stops_ = 0;  // counts requests to stop, so that late answers to one are not taken for another's
  bool reading_ = false;
  bool writing_ = false;
  std::string why_lost_;
};

// ---- the socket

void libpq_line::close() noexcept {
  if (!conn_) return;
  patience_.cancel();
  once_more_.cancel();
  if (cancelling_) cancelling_->drop();
  socket_.release();  // the descriptor is libpq's
  conn_.reset();
}

void libpq_line::watch_reading() {
  // Nothing is read of a copy that nobody asks for: so the server waits, too.
  if (reading_ || !conn_ || (copying_ == copying::out && current_ == nullptr)) return;
  reading_ = true;
  socket_.async_wait(asio::posix::stream_descriptor::wait_read,
                     [self = weak_from_this()](const error_code& problem) {
                       if (const auto me = self.lock()) {
                         me->reading_ = false;
                         if (problem != asio::error::operation_aborted) me->readable(problem);
                       }
                     });
}

void libpq_line::watch_writing() {
  if (writing_ || !conn_) return;
  writing_ = true;
  socket_.async_wait(asio::posix::stream_descriptor::wait_write,
                     [self = weak_from_this()](const error_code& problem) {
                       if (const auto me = self.lock()) {
                         me->writing_ = false;
                         if (problem != asio::error::operation_aborted) me->writable(problem);
                       }
                     });
}

void libpq_line::readable(const error_code& problem) noexcept {
  if (!conn_) return;
  try {
    if (problem) return lost(problem.message());
    if (PQconsumeInput(conn_.get()) == 0) {
      // What it read before the end may hold the reason.
      advance();
      if (conn_) lost(PQerrorMessage(conn_.get()));
      return;
    }
    hear();
    advance();
    if (!conn_) return;
    hear();  // what came behind an answer
    watch_reading();
  } catch (...) {
    broken_by(std::current_exception());
  }
}

void libpq_line::writable(const error_code& problem) noexcept {
  if (!conn_) return;
  try {
    if (problem) return lost(problem.message());
    flush();
    if (conn_) advance();
  } catch (...) {
    broken_by(std::current_exception());
  }
}

void libpq_line::flush() {
  const int left = PQflush(conn_.get());
  if (left < 0) return lost(PQerrorMessage(conn_.get()));
  if (left > 0) watch_writing();
}

void libpq_line::hear() {
  bool some = false;
  while (PGnotify* one = PQnotifies(conn_.get())) {
    const std::unique_ptr<PGnotify, decltype(&PQfreemem)> owned(one, &PQfreemem);
    if (!told) continue;  // somebody said LISTEN on a connection of the pool
    heard.push_back({one->relname, one->extra, one->be_pid});
    some = true;
  }
  if (some && told) told();
}

void libpq_line::on_notice(void* self, const PGresult* notice) {
  auto& me = *static_cast<libpq_line*>(self);
  const std::string_view severity = field(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
  try {
    if (severity == "FATAL") me.why_lost_ = one_line(field(notice, PG_DIAG_MESSAGE_PRIMARY));
    if (me.settings_.on_notice)
      me.settings_.on_notice(fmt::format("{}: {}", severity, field(notice, PG_DIAG_MESSAGE_PRIMARY)));
  } catch (...) {
    // It cannot go through libpq, which is C.
    belay::detail::report_lost(failure::of(std::current_exception()));
  }
}

// The connection is gone. Whoever waits is told; nobody else: the next one who wants to use it sees.
void libpq_line::lost(std::string_view why) noexcept {
  try {
    std::string reason = why_lost_.empty() ? one_line(why) : why_lost_;
    close();
    if (current_ != nullptr && !current_->error) current_->error = lost_error(name_, doing(), reason);
  } catch (...) {
    close();
    if (current_ != nullptr && !current_->error) current_->error = std::current_exception();
  }
  copying_ = copying::no;
  if (current_ != nullptr) {
    if (stopping_) current_->stopped = true;
    finish();
  }
  if (told) told();
}

void libpq_line::broken_by(std::exception_ptr what) noexcept {
  close();
  copying_ = copying::no;
  if (current_ != nullptr) {
    if (!current_->error) current_->error = std::move(what);
    finish();
  } else {
    belay::detail::report_lost(failure::of(std::move(what)));
  }
  if (told) told();
}

void libpq_line::drop() noexcept { lost("it was dropped"); }

// ---- beginning

std::string libpq_line::doing() const {
  if (current_ == nullptr) return "a connection";
  switch (current_->what) {
    case step::get_chunk: return "read from a COPY";
    case step::put_chunk: return "write to a COPY";
    case step::end_copy: return "end a COPY";
    default: break;
  }
  if (current_->statements.empty()) return "a sign of life";
  return brief(current_->statements.front().sql);
}

void libpq_line::start(exchange& one) {
  current_ = &one;
  answered_ = stopping_ = barrier_ = false;
  if (!conn_ || PQstatus(conn_.get()) != CONNECTION_OK) {
    one.error = lost_error(name_, doing(), why_lost_);
    return finish();
  }
  try {
    switch (one.what) {
      case step::batch: start_batch(one); break;
      case step::script:
      case step::copy_in:
      case step::copy_out: start_simple(one); break;
      case step::get_chunk: break;
      case step::put_chunk: {
        if (copying_ != copying::in) break;  // the server has ended it; end_copy says why
        const int put = PQputCopyData(conn_.get(), one.chunk.data(), static_cast<int>(one.chunk.size()));
        if (put < 0) return lost(PQerrorMessage(conn_.get()));
        if (put == 0) return lost("no memory for the data of a COPY");  // it was not queued
        break;
      }
      case step::end_copy:
        if (copying_ == copying::in) {
          end_copy_in();
        } else if (copying_ == copying::out) {
          stop(one);
        } else {
          return finish();
        }
        break;
    }
    if (current_ != nullptr && conn_) flush();
    if (current_ == nullptr) return;
    watch_reading();
    advance();
  } catch (...) {
    // Nothing was sent, or not all: libpq's state is not known.
    broken_by(std::current_exception());
  }
}

void libpq_line::require_sent(int sent) {
  if (sent == 1) return;
  if (current_->error) return;
  current_->error =
      std::make_exception_ptr(statement_error(error_kind::internal, "bad_statement",
                                              fmt::format("database {}: {}: cannot be sent: {}", name_,
                                                          doing(), one_line(PQerrorMessage(conn_.get())))));
}

void libpq_line::start_batch(exchange& one) {
  expected_.clear();
  seen_ = false;
  if (one.statements.empty()) {
    // A sign of life.
    leave_pipeline();
    require_sent(PQsendQuery(conn_.get(), ""));
    return;
  }
  if (PQpipelineStatus(conn_.get()) == PQ_PIPELINE_OFF && PQenterPipelineMode(conn_.get()) == 0)
    return lost(PQerrorMessage(conn_.get()));
  syncs_ = 1;
  make_room(one);
  try {
    for (std::size_t i = 0; i < one.statements.size() && !one.error; ++i) send_one(one, i);
  } catch (const db::error&) {
    one.error = std::
        current_exception();  // a value that does not go; what was sent before it is taken back by the server
  }
  // Without this, the server would keep what came before a statement that could not be sent.
  const bool some_sent = !expected_.empty() && expected_.back().what != expected::part::forgetting &&
                         expected_.back().index >= one.leading;
  if (one.error && some_sent) {
    PQsendQueryParams(conn_.get(), "a statement could not be sent", 0, nullptr, nullptr, nullptr, nullptr, 0);
    expected_.push_back({expected::part::forgetting, 0});
  }
  if (PQpipelineSync(conn_.get()) == 0) lost(PQerrorMessage(conn_.get()));
}

// Statements that were not used for long go, before the others and apart from them: some commands (VACUUM) want to be the only one.
void libpq_line::make_room(exchange& one) {
  if (PQtransactionStatus(conn_.get()) == PQTRANS_INERROR) return;
  const auto more = std::count_if(one.statements.begin(), one.statements.end(),
                                  [this](const statement& each) { return !cache_.has(each.sql); });
  bool some = false;
  while (more > 0 && cache_.too_full_for(static_cast<std::size_t>(more))) {
    const std::string forget = "DEALLOCATE " + cache_.drop_oldest();
    require_sent(PQsendQueryParams(conn_.get(), forget.c_str(), 0, nullptr, nullptr, nullptr, nullptr, 0));
    expected_.push_back({expected::part::forgetting, 0});
    some = true;
  }
  if (!some) return;
  ++syncs_;
  if (PQpipelineSync(conn_.get()) == 0) lost(PQerrorMessage(conn_.get()));
}

void libpq_line::send_one(exchange& one, std::size_t index) {
  const statement& wanted = one.statements[index];
  const std::string text = brief(wanted.sql);
  if (wanted.sql.find('\0') != std::string::npos) {
    throw statement_error(error_kind::internal, "bad_statement",
                          fmt::format("database {}: the statement has a NUL in it", name_));
  }
  const std::size_t count = wanted.bound.size();
  std::vector<std::string> rooms(count);
  std::vector<const char*> data(count);
  std::vector<int> sizes(count);
  std::vector<int> formats(count);
  for (std::size_t i = 0; i < count; ++i) {
    const outgoing each = to_outgoing(wanted.bound[i], rooms[i], i + 1, text);
    data[i] = each.data;
    sizes[i] = each.size;
    formats[i] = each.binary;
  }
  const auto parameters_count = static_cast<int>(count);
  std::string prepared = cache_.find(wanted.sql);
  // In a failed transaction nothing can be prepared; the server says so.
  if (prepared.empty() && !cache_.full() && PQtransactionStatus(conn_.get()) != PQTRANS_INERROR) {
    prepared = cache_.add(wanted.sql);
    require_sent(PQsendPrepare(conn_.get(), prepared.c_str(), wanted.sql.c_str(), 0, nullptr));
    if (one.error) return cache_.forget(wanted.sql);
    expected_.push_back({expected::part::preparing, index});
  }
  if (prepared.empty()) {
    require_sent(PQsendQueryParams(conn_.get(), wanted.sql.c_str(), parameters_count, nullptr, data.data(),
                                   sizes.data(), formats.data(), 0));
  } else {
    require_sent(PQsendQueryPrepared(conn_.get(), prepared.c_str(), parameters_count, data.data(),
                                     sizes.data(), formats.data(), 0));
  }
  if (!one.error) expected_.push_back({expected::part::running, index});
}

void libpq_line::leave_pipeline() {
  if (PQpipelineStatus(conn_.get()) == PQ_PIPELINE_OFF) return;
  if (PQexitPipelineMode(conn_.get()) == 0) unclean_ = true;
}

void libpq_line::start_simple(exchange& one) {
  leave_pipeline();
  const std::string& sql = one.statements.front().sql;
  if (sql.find('\0') != std::string::npos) {
    one.error = std::make_exception_ptr(
        statement_error(error_kind::internal, "bad_statement",
                        fmt::format("database {}: the statement has a NUL in it", name_)));
    return finish();
  }
  require_sent(PQsendQuery(conn_.get(), sql.c_str()));
}

// ---- answers

// As far as what has come in allows.
void libpq_line::advance() {
  if (current_ == nullptr) {
    // Nobody asked: only what came by itself, a notice or the end.
    if (PQstatus(conn_.get()) != CONNECTION_OK) lost(PQerrorMessage(conn_.get()));
    return;
  }
  if (barrier_) return read_simple();
  if (answered_) return;
  switch (current_->what) {
    case step::batch:
      if (!current_->statements.empty()) return read_batch();
      return read_simple();
    case step::script:
    case step::copy_in:
    case step::copy_out: return read_simple();
    case step::get_chunk:
      if (copying_ == copying::no) return answered();
      if (copying_ == copying::out_over) return read_simple();
      return read_chunk();
    case step::put_chunk:
      if (!writing_) answered();
      return;
    case step::end_copy:
      if (copying_ == copying::out) return read_chunk();
      return read_simple();
  }
}

void libpq_line::read_batch() {
  int nothing = 0;  // in a row
  while (PQisBusy(conn_.get()) == 0) {
    const pg_result got(PQgetResult(conn_.get()));
    if (!got) {
      if (++nothing > 2) return;  // it never says more, then
      if (std::exchange(seen_, false) && !expected_.empty()) expected_.pop_front();
      continue;
    }
    nothing = 0;
    const ExecStatusType status = PQresultStatus(got.get());
    if (status == PGRES_PIPELINE_SYNC) {
      if (--syncs_ == 0) return answered();
      continue;
    }
    seen_ = true;
    const expected at = expected_.empty() ? expected{expected::part::forgetting, 0} : expected_.front();
    const std::string& sql = current_->statements[at.index].sql;
    switch (status) {
      case PGRES_FATAL_ERROR:
        // That a statement to be forgotten is not there (DISCARD ALL) is as well.
        if (at.what == expected::part::forgetting && syncs_ > 1) break;
        take_error(got.get(), brief(sql));
        // Not prepared at all, or the server has forgotten it, or its rows are of another shape by now.
        if (at.what == expected::part::preparing || field(got.get(), PG_DIAG_SQLSTATE) == "26000" ||
            field(got.get(), PG_DIAG_SQLSTATE) == "0A000")
          cache_.forget(sql);
        break;
      case PGRES_PIPELINE_ABORTED:
        if (at.what == expected::part::preparing) cache_.forget(sql);
        break;
      case PGRES_COPY_IN:
      case PGRES_COPY_OUT:
      case PGRES_COPY_BOTH:
        // libpq cannot go on from here.
        current_->error = std::make_exception_ptr(statement_error(
            error_kind::internal, "bad_statement",
            fmt::format("database {}: {}: a COPY needs copy_in or copy_out", name_, brief(sql))));
        return lost("a COPY where none can be");
      default:
        if (at.what == expected::part::running) take_result(got.get(), at.index);
    }
  }
}

void libpq_line::read_simple() {
  while (conn_ && PQisBusy(conn_.get()) == 0) {
    const pg_result got(PQgetResult(conn_.get()));
    if (!got) {
      copying_ = copying::no;
      if (barrier_) {
        barrier_ = false;
        return finish();
      }
      return answered();
    }
    if (barrier_) continue;  // whatever it says: a request to cancel that came too late ends here
    switch (PQresultStatus(got.get())) {
      case PGRES_COPY_IN:
        if (current_->what == step::copy_in) {
          copying_ = copying::in;
          return answered();
        }
        current_->error = std::make_exception_ptr(statement_error(
            error_kind::internal, "bad_statement",
            fmt::format("database {}: {}: a COPY needs copy_in or copy_out", name_, doing())));
        PQputCopyEnd(conn_.get(), "a COPY needs copy_in");
        flush();
        break;
      case PGRES_COPY_OUT:
        if (current_->what == step::copy_out) {
          copying_ = copying::out;
          return answered();
        }
        current_->error = std::make_exception_ptr(statement_error(
            error_kind::internal, "bad_statement",
            fmt::format("database {}: {}: a COPY needs copy_in or copy_out", name_, doing())));
        return lost("a COPY where none can be");
      case PGRES_FATAL_ERROR: take_error(got.get(), doing()); break;
      default:
        if (!current_->statements.empty() || current_->what == step::end_copy) take_result(got.get(), 0);
    }
  }
}

void libpq_line::read_chunk() {
  while (conn_) {
    char* data = nullptr;
    const int size = PQgetCopyData(conn_.get(), &data, 1);
    if (size == 0) {
      if (!stopping_ && current_->what == step::get_chunk && !current_->chunk.empty()) answered();
      return;
    }
    const std::unique_ptr<char, decltype(&PQfreemem)> owned(data, &PQfreemem);
    if (size > 0) {
      if (stopping_) continue;
      current_->chunk.append(data, static_cast<std::size_t>(size));
      // Rows come one by one; several of them make a chunk.
      constexpr std::size_t enough = 32 * 1024;
      if (current_->chunk.size() < enough) continue;
      return answered();
    }
    if (size < -1) return lost(PQerrorMessage(conn_.get()));
    copying_ = copying::out_over;
    return read_simple();
  }
}

void libpq_line::end_copy_in() {
  const exchange& one = *current_;
  copying_ = copying::no;
  const int put = PQputCopyEnd(conn_.get(), one.chunk.empty() ? nullptr : one.chunk.c_str());
  if (put < 0) lost(PQerrorMessage(conn_.get()));
}

void libpq_line::take_result(const PGresult* got, std::size_t index) {
  exchange& into = *current_;
  if (into.results.size() <= index) {
    into.results.resize(std::max(index + 1, into.statements.size()));
    into.tags.resize(into.results.size());
  }
  result& made = into.results[index];
  const std::string_view tag =
      PQcmdStatus(const_cast<PGresult*>(got));  // libpq's interface is older than const
  into.tags[index] = tag;
  for (const std::string_view changing : {"INSERT", "UPDATE", "DELETE", "MERGE", "COPY"}) {
    if (!tag.starts_with(changing)) continue;
    const std::string_view count = PQcmdTuples(const_cast<PGresult*>(got));
    std::from_chars(count.data(), count.data() + count.size(), made.changed.rows);
  }
  const int columns = PQnfields(got);
  if (columns == 0) return;
  auto names = std::make_shared<column_names>();
  for (int i = 0; i < columns; ++i) names->emplace_back(PQfname(got, i));
  const int count = PQntuples(got);
  std::vector<row> all;
  all.reserve(static_cast<std::size_t>(count));
  for (int r = 0; r < count; ++r) {
    std::vector<value> values;
    values.reserve(static_cast<std::size_t>(columns));
    for (int i = 0; i < columns; ++i) {
      if (PQgetisnull(got, r, i) == 1) {
        values.emplace_back(nullptr);
      } else {
        values.push_back(from_text(
            PQftype(got, i), {PQgetvalue(got, r, i), static_cast<std::size_t>(PQgetlength(got, r, i))}));
      }
    }
    all.emplace_back(names, std::move(values));
  }
  made.rows = db::rows(std::move(names), std::move(all));
}

void libpq_line::take_error(const PGresult* got, std::string_view doing) {
  if (current_->error) return;  // the first one counts
  const std::string_view state = field(got, PG_DIAG_SQLSTATE);
  // 57014: the request to cancel was heard.
  // 25P02: the request to cancel hit what goes before the statement, which then did nothing.
  if (stopping_ && (state == "57014" || state == "25P02")) {
    current_->stopped = true;
    return;
  }
  if (state.empty()) {
    // libpq's own: it saw the end of the connection.
    current_->error = lost_error(name_, doing, why_lost_.empty() ? PQresultErrorMessage(got) : why_lost_);
    return;
  }
  if (field(got, PG_DIAG_SEVERITY_NONLOCALIZED) == "FATAL")
    why_lost_ = one_line(field(got, PG_DIAG_MESSAGE_PRIMARY));
  current_->error = to_error({.state = state,
                              .primary = field(got, PG_DIAG_MESSAGE_PRIMARY),
                              .detail = field(got, PG_DIAG_MESSAGE_DETAIL),
                              .table = field(got, PG_DIAG_TABLE_NAME),
                              .column = field(got, PG_DIAG_COLUMN_NAME),
                              .constraint = field(got, PG_DIAG_CONSTRAINT_NAME)},
                             name_, doing);
}

// ---- ending

// The server's answer is complete.
void libpq_line::answered() {
  answered_ = true;
  if (!stopping_) {
    if (PQstatus(conn_.get()) != CONNECTION_OK) return lost(PQerrorMessage(conn_.get()));
    return finish();
  }
  give_up_waiting();
}

// Of an exchange that was stopped: its answer is here, or the request has been delivered, in either order.
void libpq_line::give_up_waiting() noexcept {
  if (!answered_ || !cancel_settled_ || barrier_ || !conn_) return;
  if (copying_ != copying::no)
    return finish();  // it was open before the request came: the next step will see
  once_more_.cancel();
  // A request that reaches the server after its statement has ended must not hit the next one: an empty statement is in between.
  leave_pipeline();
  if (unclean_ || PQsendQuery(conn_.get(), "") == 0)
    return lost("it could not be cleaned after a cancellation");
  barrier_ = true;
  try {
    flush();
    if (conn_) watch_reading();
  } catch (...) {
    broken_by(std::current_exception());
  }
}

void libpq_line::finish() noexcept {
  patience_.cancel();
  once_more_.cancel();
  if (cancelling_) std::exchange(cancelling_, nullptr)->drop();
  cancel_settled_ = true;
  stopping_ = false;
  expected_.clear();
  exchange& over = *std::exchange(current_, nullptr);
  if (over.stopped) over.error = nullptr;
  over.ended();
}

void libpq_line::request_cancel() noexcept {
  try {
    cancel_settled_ = false;
    cancelling_ = std::make_shared<cancel_request>(io::context());
    cancelling_->send(PQsocket(conn_.get()), PQbackendPID(conn_.get()), cancel_key_,
                      [weak = weak_from_this()] {
                        const auto me = weak.lock();
                        if (!me || me->current_ == nullptr || !me->stopping_) return;
                        me->cancel_settled_ = true;
                        if (me->answered_) return me->give_up_waiting();
                        try {
                          me->request_again_later();
                        } catch (...) {
                          me->broken_by(std::current_exception());
                        }
                      });
  } catch (...) {
    // Without memory for a request, the connection's end is the request.
    cannot_cancel();
  }
}

void libpq_line::cannot_cancel() {
  asio::post(io::context(), [self = shared_from_this(), number = stops_] {
    if (self->current_ != nullptr && self->stopping_ && self->stops_ == number)
      self->lost("a request to cancel could not be made");
  });
}

// A request that reaches the server before the statement does, or between two of them, cancels nothing.
void libpq_line::request_again_later() {
  once_more_.expires_after(next_request_);
  next_request_ = std::min(2 * next_request_, longest_request_pause);
  once_more_.async_wait([weak = weak_from_this(), number = stops_](const error_code& problem) {
    const auto me = weak.lock();
    if (problem || !me || me->current_ == nullptr || !me->stopping_ || me->stops_ != number) return;
    if (!me->answered_) me->request_cancel();
  });
}

void libpq_line::stop(exchange& one) noexcept {
  if (stopping_ || &one != current_) return;
  stopping_ = true;
  const auto self = shared_from_this();
  try {
    if (!conn_ || one.what == step::put_chunk) {
      // Data that was not written yet goes out before the end of the copy, or with the connection.
      asio::post(io::context(), [self, number = ++stops_] {
        if (self->current_ == nullptr || !self->stopping_ || self->stops_ != number) return;
        self->current_->stopped = true;
        self->finish();
      });
      return;
    }
    if (one.dropped_when_stopped || (one.what == step::batch && one.statements.empty())) {
      // There is nothing to be cancelled in a sign of life, and who did not give one in time will not hear of it.
      asio::post(io::context(), [self, number = ++stops_] {
        if (self->current_ != nullptr && self->stopping_ && self->stops_ == number)
          self->lost("it gave no answer in time");
      });
      return;
    }
    patience_.expires_after(settings_.cancel_limit);
    patience_.async_wait([weak = weak_from_this(), number = ++stops_](const error_code& problem) {
      const auto me = weak.lock();
      if (problem || !me || me->current_ == nullptr || !me->stopping_ || me->stops_ != number) return;
      me->lost("the server did not react to a request to cancel");
    });
    next_request_ = first_request_pause;
    request_cancel();
  } catch (...) {
    cannot_cancel();
  }
}

}  // namespace

std::shared_ptr<line> make_libpq_line(pg_connection made, const std::string& name, const options& settings,
                                      std::int32_t key) {
  const auto ready = std::make_shared<libpq_line>(std::move(made), name, settings, key);
  ready->begin();
  return ready;
}

}  // namespace belay::db::postgres::detail
