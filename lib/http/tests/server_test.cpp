// SPDX-License-Identifier: Apache-2.0
// The server over real loopback sockets, with clients that behave and clients that do not.

#include "support_client.hpp"

#include <belay/core/event.hpp>
#include <belay/core/finally.hpp>
#include <belay/core/sleep.hpp>
#include <belay/http/problem.hpp>
#include <doctest/doctest.h>

#include <sys/resource.h>

#include <atomic>
#include <future>
#include <thread>

namespace http = belay::http;
using namespace std::chrono_literals;
using namespace std::string_literals;
using test::body_of;
using test::client;
using test::get;
using test::post;
using test::status_of;

namespace {

// The undefined behaviour sanitizer opens a pipe to look at an object's type, and takes its failure for a bad
// object.
#if __has_feature(undefined_behavior_sanitizer)
constexpr bool sanitizer_needs_descriptors = true;
#else
constexpr bool sanitizer_needs_descriptors = false;
#endif

// Says what it was asked.
belay::task<http::response> echo(http::exchange& e) {
  co_return http::response::text(http::status::ok,
                                 e.request.method_name + " " + e.request.path + " " + e.request.body);
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// What a handler and the test's thread tell each other.
struct signs {
  std::atomic<int> started{0};
  std::atomic<int> finished{0};
  std::atomic<int> cleaned{0};
};

void wait_for(const std::atomic<int>& what, int value) {
  for (int i = 0; i != 5000 && what.load() < value; ++i) std::this_thread::sleep_for(1ms);
  CHECK(what.load() >= value);
}

struct counting_guard {
  std::atomic<int>& counter;
  ~counting_guard() { ++counter; }
};

}  // namespace

TEST_CASE("server: answers with Date and Content-Length, and keeps the connection") {
  const auto result = test::serve(echo, [](std::uint16_t port) {
    client c(port);
    c.send(get("/a"));
    const std::string first = c.response();
    CHECK(status_of(first) == "200");
    CHECK(body_of(first) == "GET /a ");
    CHECK(contains(first, "\r\nDate: "));
    CHECK_FALSE(contains(first, "Connection:"));
    c.send(post("/b", "hello"));
    CHECK(body_of(c.response()) == "POST /b hello");
    c.send(get("/c", "Connection: close\r\n"));
    const std::string last = c.response();
    CHECK(contains(last, "\r\nConnection: close\r\n"));
    CHECK(c.ended());
  });
  CHECK(result.statistics.requests == 3);
  CHECK(result.statistics.accepted == 1);
  CHECK(result.statistics.connections == 0);
  CHECK(result.statistics.active_requests == 0);
  CHECK(result.lost.empty());
  CHECK(result.live_tasks == 0);
}

TEST_CASE("server: HTTP/1.0 is served and closed, or kept alive on request") {
  test::serve(echo, [](std::uint16_t port) {
    client c(port);
    c.send("GET /old HTTP/1.0\r\n\r\n");
    CHECK(body_of(c.response()) == "GET /old ");
    CHECK(c.ended());
    client keep(port);
    keep.send("GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    CHECK(contains(keep.response(), "\r\nConnection: keep-alive\r\n"));
    keep.send(get("/x"));
    CHECK(status_of(keep.response()) == "200");
  });
}

TEST_CASE("server: pipelined requests are answered in order, cut anywhere [row 439]") {
  test::serve(echo, [](std::uint16_t port) {
    const std::string bytes = get("/1") + post("/2", "two") + get("/3");
    for (const std::size_t piece : {bytes.size(), std::size_t{1}, std::size_t{50}}) {
      client c(port);
      for (std::size_t at = 0; at < bytes.size(); at += piece) c.send(bytes.substr(at, piece));
      CHECK(body_of(c.response()) == "GET /1 ");
      CHECK(body_of(c.response()) == "POST /2 two");
      CHECK(body_of(c.response()) == "GET /3 ");
    }
  });
}

TEST_CASE("server: requests that come while the handler works are kept for later") {
  signs s;
  test::serve(
      [&](http::exchange& e) -> belay::task<http::response> {
        ++s.started;
        if (e.request.path == "/slow") co_await belay::sleep_for(50ms);
        co_return http::response::text(http::status::ok, e.request.path);
      },
      [&](std::uint16_t port) {
        client c(port);
        c.send(get("/slow"));
        wait_for(s.started, 1);
        c.send(get("/next"));
        c.send("GET /la");
        CHECK(body_of(c.response()) == "/slow");
        CHECK(body_of(c.response()) == "/next");
        c.send("st HTTP/1.1\r\nHost: x\r\n\r\n");
        CHECK(body_of(c.response()) == "/last");
      });
}

TEST_CASE("server: HEAD gets the head of GET and no body [row 441]") {
  test::serve(echo, [](std::uint16_t port) {
    client c(port);
    c.send("HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n");
    const std::string head = c.response(true);
    CHECK(contains(head, "Content-Length: 8\r\n"));
    c.send(get("/b"));
    CHECK(status_of(c.response()) == "200");  // nothing of a body came before
  });
}

TEST_CASE(
    "server: malformed requests are refused with a problem and the connection is closed; others are not "
    "touched [row 431]") {
  const auto result = test::serve(echo, [](std::uint16_t port) {
    client other(port);
    other.send(get("/1"));
    CHECK(status_of(other.response()) == "200");
    const std::vector<std::pair<std::string, std::string>> cases = {
        {"GARBAGE\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\n\r\n", "400"},
        {"GET / HTTP/9.9\r\nHost: x\r\n\r\n", "505"},
        {"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(20'000, 'a') + "\r\n\r\n", "431"},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n", "413"},
        {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\nHost: x\r\nExpect: magic\r\nContent-Length: 1\r\n\r\n", "417"},
    };
    for (const auto& [bytes, status] : cases) {
      CAPTURE(bytes.substr(0, 80));
      client c(port);
      c.send(bytes);
      const std::string answer = c.response();
      CHECK(status_of(answer) == status);
      CHECK(contains(answer, "Content-Type: application/problem+json\r\n"));
      CHECK(contains(answer, "Connection: close\r\n"));
      c.end_writing();
      CHECK(c.ended());
    }
    other.send(get("/2"));
    CHECK(status_of(other.response()) == "200");
  });
  CHECK(result.statistics.refusals == 9);
  CHECK(result.statistics.requests == 2);
  CHECK(result.lost.empty());
}

TEST_CASE("server: a client that sends all of a body that is too large can still read the 413") {
  const auto result = test::serve(echo, [](std::uint16_t port) {
    const std::string large(4'000'000, 'x');
    client c(port);
    c.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n");
    c.send(large);
    CHECK(status_of(c.response()) == "413");
    client chunked(port);
    chunked.send("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3D0900\r\n");
    chunked.send(large);
    CHECK(status_of(chunked.response()) == "413");
  });
  CHECK(result.statistics.requests == 0);
}

TEST_CASE("server: Expect 100-continue is answered before the body, and only if it is wanted") {
  test::serve(echo, [](std::uint16_t port) {
    client c(port);
    c.send("POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    CHECK(c.response(true) == "HTTP/1.1 100 Continue\r\n\r\n");
    c.send("hello");
    CHECK(body_of(c.response()) == "POST /a hello");
    c.send("POST /b HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi");  // did not
                                                                                                   // wait
    CHECK(body_of(c.response()) == "POST /b hi");
    client large(port);
    large.send("POST /c HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n");
    CHECK(status_of(large.response()) == "413");
  });
}

TEST_CASE("server: a head that drips is refused with 408 when its time is over, whatever it drips") {
  http::server_options options;
  options.head_timeout = 80ms;
  options.linger_timeout = 50ms;
  const auto result = test::serve(
      echo,
      [](std::uint16_t port) {
        client silent(port);
        silent.send("GET / HT");
        CHECK(status_of(silent.response()) == "408");
        client drip(port);
        const auto begin = std::chrono::steady_clock::now();
        for (int i = 0; i != 15 && drip.send("a"); ++i) std::this_thread::sleep_for(10ms);
        const std::string answer = drip.response();
        CHECK(status_of(answer) == "408");
        CHECK(contains(answer, "\"code\":\"request_timeout\""));
        CHECK(std::chrono::steady_clock::now() - begin < 3s);
        CHECK(drip.ended());
      },
      options);
  CHECK(result.statistics.refusals == 2);
}

TEST_CASE(
    "server: a body that does not come is refused with 408; an idle connection is closed without a word") {
  http::server_options options;
  options.body_timeout = 50ms;
  options.idle_timeout = 100ms;
  options.linger_timeout = 20ms;
  test::serve(
      echo,
      [](std::uint16_t port) {
        client slow(port);
        slow.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe");
        CHECK(status_of(slow.response()) == "408");
        client idle(port);
        CHECK(idle.ended());
        client used(port);
        used.send(get("/a"));
        CHECK(status_of(used.response()) == "200");
        CHECK(used.ended());
      },
      options);
}

TEST_CASE(
    "server: a failing handler is a 500 without internals, reported once; others go on [row 416] [row 443]") {
  const auto result = test::serve(
      [](http::exchange& e) -> belay::task<http::response> {
        if (e.request.path == "/bad") throw std::runtime_error("secret internals");
        if (e.request.path == "/known")
          throw http::problem_error(http::status::conflict, "email_taken", "choose another");
        co_return http::response::text(http::status::ok, "fine");
      },
      [](std::uint16_t port) {
        client c(port);
        c.send(get("/bad?x=1"));
        const std::string answer = c.response();
        CHECK(status_of(answer) == "500");
        CHECK_FALSE(contains(answer, "secret"));
        CHECK(contains(answer, "\"detail\":\"internal error\""));
        CHECK(contains(answer, "\"instance\":\"/bad\""));
        c.send(get("/known"));
        const std::string known = c.response();
        CHECK(status_of(known) == "409");
        CHECK(contains(known, "\"instance\":\"/known\""));
        c.send(get("/good"));
        CHECK(body_of(c.response()) == "fine");
      });
  CHECK(result.lost == std::vector<std::string>{"secret internals"});
}

TEST_CASE(
    "server: hooks make the answers; one that throws is a 500 of its own, and a failure it does not look at "
    "is reported") {
  http::server_hooks hooks;
  hooks.failed = [](const http::exchange& e, const belay::failure& why) -> http::response {
    if (e.request.path != "/unseen") why.observe();
    if (e.request.path == "/twice") throw std::runtime_error("hook failed");
    return http::response::text(http::status::bad_gateway, why.message());
  };
  hooks.refused = [](const http::protocol_error& why, const http::request& head,
                     const belay::io::endpoint& peer) {
    CHECK(peer.address == "127.0.0.1");
    return http::response::text(why.status, "refused " + head.path + " " + why.code);
  };
  const auto result = test::serve(
      [](http::exchange&) -> belay::task<http::response> {
        throw std::runtime_error("oops");
        co_return http::response{};
      },
      [](std::uint16_t port) {
        client c(port);
        c.send(get("/once"));
        CHECK(body_of(c.response()) == "oops");
        c.send(get("/unseen"));
        CHECK(body_of(c.response()) == "oops");
        c.send(get("/twice"));
        CHECK(status_of(c.response()) == "500");
        c.send("GET /third HTTP/1.1\r\n\r\n");
        CHECK(body_of(c.response()) == "refused /third bad_request");
      },
      {}, hooks);
  CHECK(result.lost == std::vector<std::string>{"oops", "hook failed"});
}

TEST_CASE("server: a status that is none is a 500, reported [row 419]") {
  const auto result = test::serve(
      [](http::exchange&) -> belay::task<http::response> {
        co_return http::response{.status = static_cast<http::status>(0)};
      },
      [](std::uint16_t port) {
        client c(port);
        c.send(get("/"));
        CHECK(status_of(c.response()) == "500");
      });
  CHECK(result.lost.size() == 1);
}

TEST_CASE(
    "server: a client that leaves cancels its handler, whose cleanup runs; nothing is reported [row 428]") {
  signs s;
  std::vector<http::delivery> ended;
  http::server_hooks hooks;
  hooks.ended = [&](http::exchange&, const http::response* what, http::delivery how) {
    CHECK(what == nullptr);
    ended.push_back(how);
  };
  const auto result = test::serve(
      [&](http::exchange&) -> belay::task<http::response> {
        const counting_guard guard{s.cleaned};
        ++s.started;
        co_await belay::sleep_for(20s);
        ++s.finished;
        co_return http::response{};
      },
      [&](std::uint16_t port) {
        {
          client c(port);
          c.send(get("/1"));
          wait_for(s.started, 1);
        }  // closed
        wait_for(s.cleaned, 1);
        client half(port);
        half.send(get("/2"));
        wait_for(s.started, 2);
        half.end_writing();
        wait_for(s.cleaned, 2);
        CHECK(half.ended());
        client reset(port);
        reset.send(post("/3", "x"));
        wait_for(s.started, 3);
        reset.reset();
        wait_for(s.cleaned, 3);
      },
      {}, hooks);
  CHECK(s.finished == 0);
  CHECK(ended == std::vector<http::delivery>(3, http::delivery::disconnected));
  CHECK(result.statistics.disconnects == 3);
  CHECK(result.statistics.active_requests == 0);
  CHECK(result.lost.empty());
}

TEST_CASE(
    "server: told to ignore a disconnect, it lets the handler finish and answers a client that only stopped "
    "sending") {
  signs s;
  http::server_options options;
  options.disconnect = http::server_options::on_disconnect::ignore;
  test::serve(
      [&](http::exchange&) -> belay::task<http::response> {
        ++s.started;
        co_await belay::sleep_for(30ms);
        ++s.finished;
        co_return http::response::text(http::status::ok, "done");
      },
      [&](std::uint16_t port) {
        client half(port);
        half.send(get("/"));
        half.end_writing();
        CHECK(body_of(half.response()) == "done");
        CHECK(half.ended());
      },
      options);
  CHECK(s.finished == 1);
}

TEST_CASE("server: a client that is gone when the answer is written is no error [row 429]") {
  std::atomic<int> lost{0};
  http::server_hooks hooks;
  hooks.ended = [&](http::exchange&, const http::response* what, http::delivery how) {
    CHECK(what != nullptr);
    if (how == http::delivery::lost) ++lost;
  };
  http::server_options options;
  options.disconnect = http::server_options::on_disconnect::ignore;
  options.write_timeout = 100ms;
  signs s;
  const auto result = test::serve(
      [&](http::exchange& e) -> belay::task<http::response> {
        ++s.started;
        co_await belay::sleep_for(e.request.path == "/reset" ? 50ms : 1ms);
        co_return http::response::text(http::status::ok, std::string(20'000'000, 'x'));
      },
      [&](std::uint16_t port) {
        client c(port);
        c.send(get("/reset"));
        wait_for(s.started, 1);
        c.reset();
        wait_for(lost, 1);
        client deaf(port);  // never reads: the write limit ends it
        deaf.send(get("/deaf"));
        wait_for(lost, 2);
      },
      options, hooks);
  CHECK(result.statistics.disconnects == 2);
  CHECK(result.lost.empty());
}

TEST_CASE("server: what comes after the response begins after it was sent [row 445]") {
  std::atomic<int> ended{0};
  http::server_hooks hooks;
  hooks.ended = [&](http::exchange& e, const http::response* what, http::delivery how) {
    CHECK(e.request.path == "/a");
    CHECK(what->status == http::status::ok);
    CHECK(how == http::delivery::sent);
    ++ended;
  };
  test::serve(
      echo,
      [&](std::uint16_t port) {
        client c(port);
        c.send(get("/a"));
        CHECK(status_of(c.response()) == "200");
        wait_for(ended, 1);
      },
      {}, hooks);
}

TEST_CASE(
    "server: an answer by the head alone; the unread body is skipped or the connection closed [row 430]") {
  http::server_hooks hooks;
  hooks.judge_head = [](const http::request& head,
                        const belay::io::endpoint&) -> std::optional<http::response> {
    if (head.path == "/no") return http::response::text(http::status::not_found, "early");
    if (head.path == "/throw") throw http::problem_error(http::status::forbidden, "forbidden", "no");
    return std::nullopt;
  };
  const auto result = test::serve(
      echo,
      [](std::uint16_t port) {
        client c(port);
        c.send(post("/no", "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"));
        CHECK(body_of(c.response()) == "early");
        c.send(get("/yes"));
        CHECK(body_of(c.response()) == "GET /yes ");
        c.send(get("/throw"));
        CHECK(status_of(c.response()) == "403");
        c.send("POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
        CHECK(body_of(c.response()) == "early");  // before the body
        c.send("hello" + get("/yes"));
        CHECK(body_of(c.response()) == "GET /yes ");
        for (const char* framing : {"Content-Length: 2000000\r\n", "Transfer-Encoding: chunked\r\n",
                                    "Expect: 100-continue\r\nContent-Length: 5\r\n"}) {
          client closing(port);
          closing.send("POST /no HTTP/1.1\r\nHost: x\r\n"s + framing + "\r\n");
          const std::string answer = closing.response();
          CHECK(status_of(answer) == "404");  // and not 413, and no 100
          CHECK(contains(answer, "Connection: close\r\n"));
        }
      },
      {}, hooks);
  CHECK(result.statistics.early_answers == 6);
  CHECK(result.statistics.requests == 2);
}

TEST_CASE("server: connections beyond the limit are answered 503 with Retry-After at once [row 433]") {
  http::server_options options;
  options.max_connections = 2;
  const auto result = test::serve(
      echo,
      [](std::uint16_t port) {
        client one(port);
        client two(port);
        one.send(get("/1"));
        two.send(get("/2"));
        CHECK(status_of(one.response()) == "200");
        CHECK(status_of(two.response()) == "200");
        {
          client three(port);
          const std::string answer = three.response();
          CHECK(status_of(answer) == "503");
          CHECK(contains(answer, "Retry-After: 1\r\n"));
          CHECK(three.ended());
        }
        one.close();
        for (int i = 0; i != 500; ++i) {
          client four(port);
          four.send(get("/4"));
          if (status_of(four.response()) == "200") return;
          std::this_thread::sleep_for(1ms);
        }
        FAIL("the place of the closed connection was not given again");
      },
      options);
  CHECK(result.statistics.rejected >= 1);
}

TEST_CASE(
    "server: draining refuses new connections, closes idle ones, answers what was read [row 297] [row 301]") {
  signs s;
  std::atomic<bool> release{false};
  belay::loop loop;
  http::server_options options;
  options.drain_read_timeout = 5s;
  http::server web(
      [&](http::exchange&) -> belay::task<http::response> {
        ++s.started;
        while (!release) co_await belay::sleep_for(1ms);
        co_return http::response::text(http::status::ok, "answered");
      },
      {}, options);
  // Waits until the server has read what was sent: `idle` connections have sent nothing.
  auto wait_until_read = [&](std::size_t connections, std::size_t idle) {
    for (int i = 0; i != 5000; ++i) {
      std::promise<http::server_statistics> asked;
      loop.post([&] { asked.set_value(web.statistics()); });
      const http::server_statistics now = asked.get_future().get();
      if (now.connections == connections && now.idle_connections == idle) return;
      std::this_thread::sleep_for(1ms);
    }
    FAIL("the server did not read what was sent");
  };
  auto talk = [&](std::uint16_t port) {
    client idle(port);
    client busy(port);
    busy.send(get("/1") + get("/never"));
    client half(port);
    half.send("GET /half HT");
    wait_for(s.started, 1);
    wait_until_read(3, 1);
    loop.post([&] { web.drain(); });
    CHECK(idle.ended());
    CHECK(client(port).refused());
    half.send("TP/1.1\r\nHost: x\r\n\r\n");
    wait_for(s.started, 2);
    release = true;
    const std::string answer = busy.response();
    CHECK(body_of(answer) == "answered");
    CHECK(contains(answer, "Connection: close\r\n"));
    const std::string completed = half.response();
    CHECK(body_of(completed) == "answered");
    CHECK(contains(completed, "Connection: close\r\n"));
    CHECK(busy.ended());
    CHECK(half.ended());
  };
  loop.run(belay::with_timeout(20s, test::converse(web, talk)));
  CHECK(s.started == 2);
  CHECK(web.statistics().connections == 0);
}

TEST_CASE("server: a request that never becomes complete does not hold up draining") {
  http::server_options options;
  options.drain_read_timeout = 30ms;
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::unique_ptr<client>> clients;
  test::serve(
      echo,
      [&](std::uint16_t port) {
        for (const char* bytes :
             {"GET / HT", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe", "GARBAGE\r\n"}) {
          clients.push_back(std::make_unique<client>(port));
          clients.back()->send(bytes);
        }
        clients.push_back(std::make_unique<client>(port));  // idle
        std::this_thread::sleep_for(20ms);
      },
      options);
  CHECK(std::chrono::steady_clock::now() - begin < 5s);
}

TEST_CASE("server: cancelled, it cancels handlers, waits for their cleanup and closes everything") {
  signs s;
  std::vector<http::delivery> ended;
  http::server_hooks hooks;
  hooks.ended = [&](http::exchange&, const http::response*, http::delivery how) { ended.push_back(how); };
  belay::loop loop;
  http::server web(
      [&](http::exchange&) -> belay::task<http::response> {
        ++s.started;
        co_return co_await belay::finally(
            []() -> belay::task<http::response> {
              co_await belay::sleep_for(20s);
              co_return http::response{};
            },
            [&]() -> belay::task<> {
              co_await belay::sleep_for(10ms);
              ++s.cleaned;
            });
      },
      hooks);
  std::thread other;
  auto main = [&]() -> belay::task<> {
    auto listener = belay::io::tcp_listener::bind({"127.0.0.1", 0});
    other = std::thread([&s, port = listener.local().port] {
      client c(port);
      client idle(port);
      c.send(get("/"));
      wait_for(s.started, 1);
      CHECK(c.ended());
      CHECK(idle.ended());
    });
    co_await belay::with_group([&](belay::group& tasks) -> belay::task<> {
      tasks.adopt(web.serve(std::move(listener)));
      while (s.started == 0) co_await belay::sleep_for(1ms);
      tasks.cancel();
    });
  };
  loop.run(main());
  other.join();
  CHECK(s.cleaned == 1);
  CHECK(ended == std::vector<http::delivery>{http::delivery::stopped});
  CHECK(web.statistics().connections == 0);
  CHECK(loop.statistics().live_tasks == 0);
}

TEST_CASE("server: the client's deadline cancels the handler and is a 504; a bad one is a 400") {
  signs s;
  test::serve(
      [&](http::exchange& e) -> belay::task<http::response> {
        auto work = [](signs& with, std::string path) -> belay::task<http::response> {
          const counting_guard guard{with.cleaned};
          if (path == "/slow") co_await belay::sleep_for(20s);
          ++with.finished;
          co_return http::response::text(http::status::ok, "in time");
        };
        co_return co_await http::with_client_deadline(e, work(s, e.request.path));
      },
      [&](std::uint16_t port) {
        client c(port);
        c.send(get("/slow", "Belay-Deadline-Ms: 30\r\n"));
        const std::string late = c.response();
        CHECK(status_of(late) == "504");
        CHECK(contains(late, "\"code\":\"deadline_exceeded\""));
        CHECK(s.cleaned == 1);
        c.send(get("/fast", "Belay-Deadline-Ms: 3000\r\n"));
        CHECK(body_of(c.response()) == "in time");
        c.send(get("/fast"));
        CHECK(body_of(c.response()) == "in time");
        c.send(get("/fast", "Belay-Deadline-Ms: soon\r\n"));
        CHECK(contains(c.response(), "\"code\":\"invalid_deadline\""));
      });
  CHECK(s.finished == 2);
}

TEST_CASE("server: out of descriptors, it says so, waits, and goes on accepting [row 442]" *
          doctest::skip(sanitizer_needs_descriptors)) {
  std::atomic<int> told{0};
  http::server_hooks hooks;
  hooks.accept_failed = [&](const belay::failure& why) {
    CHECK(why.find<belay::io::network_error>() != nullptr);
    ++told;
  };
  http::server_options options;
  options.accept_backoff = 5ms;
  const auto result = test::serve(
      echo,
      [&](std::uint16_t port) {
        client waiting;
        rlimit usual{};
        ::getrlimit(RLIMIT_NOFILE, &usual);
        rlimit none = usual;
        none.rlim_cur = 0;
        ::setrlimit(RLIMIT_NOFILE, &none);
        waiting.connect(port);
        waiting.send(get("/a"));
        wait_for(told, 2);
        ::setrlimit(RLIMIT_NOFILE, &usual);
        CHECK(status_of(waiting.response()) == "200");
        client after(port);
        after.send(get("/b"));
        CHECK(status_of(after.response()) == "200");
      },
      options, hooks);
  CHECK(result.statistics.accept_failures >= 2);
  CHECK(result.lost.empty());
}

TEST_CASE("server: many clients at once, a third of which vanish: every answer is right, nothing is left") {
  std::atomic<int> answered{0};
  const auto result = test::serve(
      [](http::exchange& e) -> belay::task<http::response> {
        co_await belay::sleep_for(1ms);
        co_return http::response::text(http::status::ok, e.request.body);
      },
      [&](std::uint16_t port) {
        std::vector<std::thread> threads;
        for (int t = 0; t != 8; ++t) {
          threads.emplace_back([&, t] {
            for (int i = 0; i != 30; ++i) {
              client c(port);
              const std::string body = std::to_string(t) + ":" + std::to_string(i);
              if (i % 3 == 0) {
                c.send(post("/gone", body));
                if (i % 2 == 0) c.reset();
                continue;
              }
              c.send(post("/1", body) + post("/2", body + "!"));
              if (body_of(c.response()) == body && body_of(c.response()) == body + "!") ++answered;
            }
          });
        }
        for (std::thread& thread : threads) thread.join();
      });
  CHECK(answered == 8 * 20);
  CHECK(result.statistics.active_requests == 0);
  CHECK(result.statistics.connections == 0);
  CHECK(result.lost.empty());
  CHECK(result.live_tasks == 0);
}

TEST_CASE("server: wrong options and wrong use are misuse") {
  CHECK_THROWS_AS(http::server(http::handler{}), belay::misuse_error);
  http::server_options none;
  none.max_connections = 0;
  CHECK_THROWS_AS(http::server(echo, {}, none), belay::misuse_error);
  http::server_options instant;
  instant.head_timeout = 0s;
  CHECK_THROWS_AS(http::server(echo, {}, instant), belay::misuse_error);
}
