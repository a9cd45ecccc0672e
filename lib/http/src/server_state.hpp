// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the server knows of itself and of each connection. One task for each connection: it reads, judges, hands over, answers, and
// starts again.
//
//   server.cpp         accepting, draining, the life of a connection
//   server_read.cpp    from bytes to a request, or to a refusal
//   server_body.cpp    request bodies that the handler reads while they come
//   server_answer.cpp  the handler, its answer, and who leaves meanwhile
//   server_stream.cpp  answers that are made while they are sent

#include <belay/core/channel.hpp>
#include <belay/core/event.hpp>
#include <belay/core/group.hpp>
#include <belay/http/problem.hpp>
#include <belay/http/server.hpp>

#include <array>
#include <list>
#include <string>
#include <utility>
#include <vector>

namespace belay::http::detail {

// What a connection is busy with, for `drain` and the statistics.
enum class phase : unsigned char {
  idle,       // no byte of a request is here
  reading,    // part of a request is here
  answering,  // in the handler, or writing
  leaving,    // the last answer is out; waiting for the client to take it
};

enum class step : unsigned char { go_on, over };

// A streamed body under way: one task makes the bytes for the wire, another one writes them.
struct outgoing {
  channel<std::string> pieces{0, "the pieces of a response"};
  child<void> maker{};
  stream_options::on_drain drain = stream_options::on_drain::finish;
  framing how = framing::none;
  bool complete = false;  // the stream has ended by itself
  bool cut = false;       // it was ended by a drain
  failure why{};          // it failed

  void end() noexcept {
    cut = true;
    maker.cancel(cancel_reason::shutdown);
  }
};

struct connection {
  connection(io::tcp_stream accepted, parser_options limits) : stream(std::move(accepted)), parser(limits) {}

  io::tcp_stream stream;
  request_parser parser;
  phase now = phase::idle;
  bool peer_ended = false;
  bool dismissed = false;      // closed by us: what was read in the same turn must not be served
  body_plan plan{};            // of the present request
  std::uint64_t requests = 0;  // whose head was read
  unsigned writes = 0;         // pieces that were given to the socket
  outgoing* out = nullptr;     // while a streamed body is sent
  std::array<char, 8192> buffer;
};

// Counts itself as long as it lives.
struct counted {
  explicit counted(std::size_t& with) noexcept : counter(with) { ++counter; }
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;
  ~counted() { --counter; }
  std::size_t& counter;
};

response internal_error(std::string_view path);
response problem_response(const problem_error& why, std::string_view path);
bool is_network_error(const failure& what) noexcept;

}  // namespace belay::http::detail

namespace belay::http {

struct server::state {
  using connection = detail::connection;
  using step = detail::step;

  state(handler serve_request, server_hooks given, server_options limits)
      : handle(std::move(serve_request)), hooks(std::move(given)), options(std::move(limits)) {}

  // The body of a request that its handler reads while it comes. `watch` reads from the client, as far ahead as there is room.
  class incoming_body final : public detail::body_source {
   public:
    incoming_body(state& of, detail::connection& at) noexcept : of_(of), at_(at) {}
    [[nodiscard]] BELAY_CORO_WRAPPER stream<std::string> open() override;

    event arrived{"the body of a request"};  // more of it, or its end
    event room{"room for more of a body"};
    bool continue_due = false;  // the client waits for "100 Continue"
    bool answered = false;      // the head of the answer is gone: too late for that
    std::optional<protocol_error> refused{};

   private:
    state& of_;
    detail::connection& at_;
    bool opened_ = false;
  };

  // Looks out for the client's leave, beside a handler that waits; many answer at once, and need none.
  class lookout {
   public:
    lookout(state& of, detail::connection& at, group& work, incoming_body* body) noexcept
        : of_(of), at_(at), work_(work), body_(body) {}
    void begin() noexcept;
    void end() noexcept { watcher_.cancel(); }

   private:
    state& of_;
    detail::connection& at_;
    group& work_;
    incoming_body* body_;
    child<void> watcher_{};
    bool begun_ = false;
  };

  // constant after construction
  handler handle;
  server_hooks hooks;
  server_options options;

  // loop thread only
  std::list<connection> connections;  // those within max_connections
  std::size_t rejecting = 0;          // connections being told that there are too many
  std::size_t active = 0;
  bool draining = false;
  bool too_late = false;  // draining, and `drain_read_timeout` has passed
  event drain_began{"the server drains"};
  event empty;  // draining, and the last connection has gone
  bool serving = false;
  std::vector<io::tcp_listener>* listeners = nullptr;  // while accepting
  server_statistics totals;

  // Calls a hook that makes a response; one that throws is answered with a 500 and reported.
  template <class F>
  static auto guarded(std::string_view path, F call) -> decltype(call()) {
    try {
      return call();
    } catch (const problem_error& e) {
      return detail::problem_response(e, path);
    } catch (...) {
      belay::detail::report_lost(current_failure());
      return detail::internal_error(path);
    }
  }

  // Whether its status ends a request.
  static bool is_final(const response& what) noexcept {
    const int code = to_int(what.status);
    return code >= 200 && code <= 599;
  }
  // What a hook gave to be sent at once, if it is whole and final. Otherwise a 500, and the misuse is reported.
  static response sendable(response given, std::string_view path);

  // ---- server.cpp

  task<> accept_all(io::tcp_listener& from, group& into);
  task<> run_connection(std::list<connection>::iterator at);
  task<> converse(connection& c);
  // One connection too many: 503 at once, unread.
  task<> reject(std::shared_ptr<connection> c);
  task<> tell_overloaded(connection& c);
  void drain();
  // Clients that began to send a request before the drain get a little time to complete it.
  task<> dismiss_the_slow();
  task<> wait_until_empty();
  static void dismiss(connection& c) noexcept;

  // ---- server_read.cpp

  // Bytes from the client into the parser. Nothing: the limit has passed. False: the client has ended its side.
  task<std::optional<bool>> read(connection& c, duration limit);
  // Reads until a head is complete, or refuses, or gives up.
  task<step> read_head(connection& c);
  // Lets the owner judge the head, then reads the body.
  task<step> read_body(connection& c, bool& answered);
  task<step> finish_body(connection& c);
  task<> refuse(connection& c, protocol_error why);
  // An answer before the body was read: the body is read and dropped, or the connection ends.
  task<step> answer_early(connection& c, response answer);
  // Reads and drops the rest of a body whose request is answered already.
  task<step> skip_rest(connection& c);
  // After the last answer: ends our side, then reads what the client still sends until it closes. Closing with unread bytes
  // would reset the connection, and the answer might be lost on its way.
  task<> leave(connection& c);
  static task<> drop_input(connection& c);

  // ---- server_body.cpp

  // Enough is here that nobody has asked for yet.
  [[nodiscard]] bool is_full(const connection& c) const noexcept;
  stream<std::string> body_pieces(connection& c, incoming_body& body);
  // After an answer: on to the next request, or to the end of the connection.
  task<step> finish_input(connection& c, bool keep);

  // ---- server_answer.cpp

  task<step> serve_request(connection& c);
  // Notices that the client leaves while the handler works; keeps what it sends meanwhile for the next request.
  task<> watch(connection& c, group& work, incoming_body* body);
  // The handler's answer, or that to its failure. Always has a status that can be sent.
  task<response> answer_to(exchange& work, duration limit, lookout& for_client);
  // Whether an answer that comes before the end of the body leaves the connection usable: what is left is short, and will come.
  [[nodiscard]] bool can_skip_rest(const connection& c, bool continue_due) const noexcept;
  [[nodiscard]] wire_options wire(const request& of, bool keep) const;
  [[nodiscard]] bool keeps_alive(const connection& c, const response& answer) const noexcept;
  // False when the client did not take it in time. Errors: `network_error`.
  task<bool> write(connection& c, std::string_view bytes);
  task<bool> write(connection& c, const response& what, wire_options how);

  // ---- server_stream.cpp

  // Head and body. What became of it; a failure of the stream has been told. The connection must be closed unless it was sent.
  task<delivery> send_stream(connection& c, const exchange& of, const response& what, wire_options how);
  static task<> make_pieces(streamed_body from, detail::outgoing& to);
  task<bool> write_pieces(connection& c, detail::outgoing& from, const stream_options& how, std::string head);
  void tell_body_failed(const exchange& of, const failure& why) noexcept;
};

}  // namespace belay::http
