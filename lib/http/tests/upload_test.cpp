// SPDX-License-Identifier: Apache-2.0
// Requests whose body is made while it is sent.

#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>

#include "site_support.hpp"
#include "support_site.hpp"

namespace bt = belay::testing;
namespace http = belay::http;
namespace io = belay::io;
using belay::stream;
using belay::task;
using namespace std::chrono_literals;
using test::contains;

namespace {

using strings = std::vector<std::string>;

// What became of the pieces.
struct source {
  int begun = 0;
  int given = 0;
  int closed = 0;

  belay::managed<int> file() {
    co_yield 0;
    ++closed;
  }
  stream<std::string> pieces(strings from) {
    ++begun;
    co_await belay::use(file());
    for (std::string& one : from) {
      ++given;
      co_yield std::move(one);
    }
  }
  stream<std::string> endless(std::size_t size) {
    ++begun;
    co_await belay::use(file());
    while (true) {
      ++given;
      co_yield std::string(size, 'x');
    }
  }
  stream<std::string> failing() {
    ++begun;
    co_await belay::use(file());
    co_yield std::string("one");
    throw io::disconnected_error("the source broke", std::make_error_code(std::errc::connection_reset));
  }
  stream<std::string> slow(int count) {
    ++begun;
    for (int i = 0; i != count; ++i) {
      co_await belay::sleep_for(4s);
      co_yield std::string("x");
    }
  }
};

// The same pieces each time.
struct repeating {
  source* of;
  strings from;
  BELAY_CORO_WRAPPER stream<std::string> operator()() const { return of->pieces(from); }
};

// One connection, as a server sees it that is no HTTP server.
class peer {
 public:
  explicit peer(io::tcp_stream with) : stream_(std::move(with)) {}
  // Up to and with `mark`; what there is when the connection ends before.
  task<std::string> until(std::string mark) {
    std::size_t at = 0;
    while ((at = in_.find(mark)) == std::string::npos) {
      if (!co_await more()) co_return std::exchange(in_, {});
    }
    std::string out = in_.substr(0, at + mark.size());
    in_.erase(0, out.size());
    co_return out;
  }
  task<std::string> rest() {
    while (co_await more()) {
    }
    co_return std::exchange(in_, {});
  }
  task<> send(std::string text) { co_await stream_.write(text); }
  void close() { stream_.close(); }

 private:
  task<bool> more() {
    std::array<char, 4096> buffer{};
    try {
      const std::size_t count = co_await stream_.read_some(buffer);
      in_.append(buffer.data(), count);
      co_return count != 0;
    } catch (const io::network_error&) {
      co_return false;
    }
  }
  io::tcp_stream stream_;
  std::string in_{};
};

using behaviour = belay::task_function<task<>(peer&)>;

struct world {
  bt::test_loop loop{};
  bt::fake_network net{{.conditions = {.delay = 1ms, .buffer = 10'000}}};
  http::client_options options{.response_timeout = 5s, .redirects = 3};
  source from{};
  int connections = 0;

  // `one` for each connection.
  void run(const behaviour& one, belay::task_function<task<>(http::client&)> conversation) {
    const io::network_override guard(net);
    loop.run(converse(one, conversation));
    CHECK_MESSAGE(net.nothing_left(), net.describe());
    CHECK(loop.live_tasks() == 0);
  }

 private:
  static task<> serve_one(const behaviour& how, io::tcp_stream with) {
    peer one(std::move(with));
    co_await how(one);
  }
  task<> converse(const behaviour& how, belay::task_function<task<>(http::client&)>& conversation) {
    co_await belay::with_group([&](belay::group& tasks) -> task<> {
      tasks.spawn(
          [](world& self, const behaviour& each) -> task<> {
            auto listener = io::tcp_listener::bind({"127.0.0.1", 80});
            co_await belay::with_group([&](belay::group& all) -> task<> {
              while (true) {
                io::tcp_stream next = co_await listener.accept();
                ++self.connections;
                all.spawn(serve_one, std::cref(each), std::move(next));
              }
            });
          },
          std::ref(*this), std::cref(how));
      http::client web(options);
      co_await conversation(web);
      CHECK(web.statistics().active == 0);
      web.close();
      CHECK(web.statistics().connections == 0);
      co_await belay::sleep_for(1s);  // for the peers to see the end
      tasks.cancel();
    });
  }
};

const std::string fine = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const std::string end_of_chunks = "\r\n0\r\n\r\n";

http::client_request put(http::upload what, std::string_view to = "/") {
  http::client_request made{.method = http::method::put,
                            .url = http::url::parse("http://127.0.0.1").with_target(to)};
  made.upload = std::move(what);
  return made;
}

}  // namespace

TEST_CASE("upload: of known length, with Content-Length; the connection is used again") {
  world w;
  strings heads;
  strings bodies;
  const behaviour twice = [&](peer& p) -> task<> {
    while (true) {
      const std::string head = co_await p.until("\r\n\r\n");
      if (head.empty()) co_return;
      heads.push_back(head);
      if (contains(head, "Content-Length")) bodies.push_back(co_await p.until("!"));
      co_await p.send(fine);
    }
  };
  w.run(twice, [&](http::client& web) -> task<> {
    const http::response got =
        co_await web.fetch(put(http::upload(w.from.pieces({"one, ", "", "two!"}), {.length = 9})));
    CHECK(got.body == "ok");
    CHECK(web.statistics().idle == 1);
    CHECK((co_await web.fetch(test::get("http://127.0.0.1/"))).body == "ok");
    CHECK(web.statistics().connects == 1);
  });
  REQUIRE(heads.size() == 2);
  CHECK(contains(heads[0], "PUT / HTTP/1.1\r\n"));
  CHECK(contains(heads[0], "\r\nContent-Length: 9\r\n"));
  CHECK_FALSE(contains(heads[0], "Transfer-Encoding"));
  CHECK(bodies == strings{"one, two!"});
  CHECK(w.from.closed == 1);
}

TEST_CASE("upload: of unknown length, in chunks of 64 KiB at most") {
  world w;
  std::string head;
  std::string body;
  const behaviour once = [&](peer& p) -> task<> {
    head = co_await p.until("\r\n\r\n");
    body = co_await p.until(end_of_chunks);
    co_await p.send(fine);
  };
  w.run(once, [&](http::client& web) -> task<> {
    http::client_request what =
        put(http::upload(w.from.pieces({"", "begin ", std::string(150'000, 'x'), "", " end"})));
    what.method = http::method::post;
    what.headers.add("Content-Length", "7");
    what.headers.add("Content-Type", "text/csv");
    CHECK((co_await web.fetch(std::move(what))).body == "ok");
  });
  CHECK(contains(head, "\r\nTransfer-Encoding: chunked\r\n"));
  CHECK(contains(head, "\r\nContent-Type: text/csv\r\n"));
  CHECK_FALSE(contains(head, "Content-Length"));
  CHECK(contains(body, "\r\n10000\r\n"));
  const test::dechunked read = test::dechunk(body);
  CHECK(read.whole);
  CHECK(read.content == "begin " + std::string(150'000, 'x') + " end");
}

TEST_CASE("upload: nothing at all is a body, too") {
  world w;
  strings seen;
  const behaviour both = [&](peer& p) -> task<> {
    while (true) {
      std::string head = co_await p.until("\r\n\r\n");
      if (head.empty()) co_return;
      if (contains(head, "chunked")) head += co_await p.until("0\r\n\r\n");
      seen.push_back(head);
      co_await p.send(fine);
    }
  };
  w.run(both, [&](http::client& web) -> task<> {
    const repeating none{&w.from, {}};
    CHECK((co_await web.fetch(put(http::upload::again(none, {.length = 0})))).body == "ok");
    CHECK((co_await web.fetch(put(http::upload::again(none)))).body == "ok");
    CHECK(web.statistics().connects == 1);
  });
  REQUIRE(seen.size() == 2);
  CHECK(contains(seen[0], "Content-Length: 0\r\n"));
  CHECK(seen[1].ends_with("\r\n\r\n0\r\n\r\n"));
}

TEST_CASE("upload: the source is no faster than the server") {
  world w;
  const behaviour lazy = [&](peer& p) -> task<> {
    co_await p.until("\r\n\r\n");
    co_await belay::sleep_for(1s);
    CHECK(w.from.given < 40);  // of 1000 bytes each: what is on its way, and in the buffers
    CHECK(w.from.given > 1);
    co_await p.until(end_of_chunks);
    co_await p.send(fine);
  };
  w.run(lazy, [&](http::client& web) -> task<> {
    CHECK(
        (co_await web.fetch(put(http::upload(w.from.pieces(strings(1000, std::string(1000, 'x'))))))).body ==
        "ok");
  });
  CHECK(w.from.given == 1000);
}

TEST_CASE("upload: what the source throws comes out, and the server sees that the body is cut off") {
  world w;
  std::string seen;
  const behaviour reader = [&](peer& p) -> task<> { seen = co_await p.rest(); };
  w.run(reader, [&](http::client& web) -> task<> {
    const auto how = co_await belay::as_outcome(web.send(put(http::upload(w.from.failing()))));
    REQUIRE(how.failed());
    CHECK(how.failure().find<io::disconnected_error>() != nullptr);
    CHECK(how.failure().find<http::request_error>() == nullptr);
    CHECK(contains(how.failure().message(), "the source broke"));
    CHECK(web.statistics().connections == 0);
  });
  CHECK(contains(seen, "3\r\none\r\n"));
  CHECK_FALSE(contains(seen, "0\r\n\r\n"));
  CHECK(w.from.closed == 1);
}

TEST_CASE("upload: whoever is cancelled closes the source, and drops the connection") {
  world w;
  std::string seen;
  const behaviour reader = [&](peer& p) -> task<> { seen = co_await p.rest(); };
  w.run(reader, [&](http::client& web) -> task<> {
    const auto got =
        co_await belay::move_on_after(9s, web.send(put(http::upload(w.from.slow(100), {.length = 100}))));
    CHECK_FALSE(got);
    CHECK(web.statistics().connections == 0);
  });
  CHECK(seen.ends_with("\r\n\r\nxx"));
}

TEST_CASE("upload: another length than was announced is misuse, and no byte too many is sent") {
  for (const std::uint64_t length : {5U, 7U}) {
    CAPTURE(length);
    world w;
    std::string seen;
    const behaviour reader = [&](peer& p) -> task<> { seen = co_await p.rest(); };
    w.run(reader, [&](http::client& web) -> task<> {
      const auto how = co_await belay::as_outcome(
          web.send(put(http::upload(w.from.pieces({"one", "two"}), {.length = length}))));
      REQUIRE(how.failed());
      CHECK(how.failure().find<belay::misuse_error>() != nullptr);
      CHECK(contains(how.failure().message(), length == 5 ? "longer than" : "ended 1 bytes before"));
    });
    CHECK(seen.ends_with(length == 5 ? "\r\n\r\none" : "\r\n\r\nonetwo"));
    CHECK(w.from.closed == 1);
  }
}

TEST_CASE(
    "upload: an answer that comes before its end is given at once, and nothing follows on its connection") {
  for (const bool closes : {false, true}) {
    CAPTURE(closes);
    world w;
    const behaviour hasty = [&](peer& p) -> task<> {
      co_await p.until("\r\n\r\n");
      co_await p.until("x\r\n");
      co_await p.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
      if (!closes) co_await p.rest();
    };
    w.run(hasty, [&](http::client& web) -> task<> {
      const http::response got = co_await web.send(put(http::upload(w.from.endless(1000))));
      CHECK(got.status == http::status::payload_too_large);
      CHECK(got.body == "big");
      CHECK(web.statistics().connections == 0);
    });
    CHECK(w.from.closed == 1);
  }
}

TEST_CASE(
    "upload: one that is sent once goes on a fresh connection; one that can be made again on one in use, and a second time") {
  world w;
  const behaviour forgetful = [&](peer& p) -> task<> {  // answers once, and is gone at the second request
    const std::string head = co_await p.until("\r\n\r\n");
    if (head.empty()) co_return;
    if (contains(head, "chunked")) co_await p.until(end_of_chunks);
    co_await p.send(fine);
    co_await p.until("\r\n\r\n");
  };
  w.run(forgetful, [&](http::client& web) -> task<> {
    co_await web.fetch(test::get("http://127.0.0.1/"));
    CHECK((co_await web.fetch(put(http::upload(w.from.pieces({"a"}))))).body == "ok");
    CHECK(web.statistics().reused == 0);
    CHECK(web.statistics().connects == 2);
    const http::upload again = http::upload::again(repeating{&w.from, {"b"}});
    CHECK((co_await web.fetch(put(again))).body == "ok");
    CHECK(web.statistics().reused == 1);
    CHECK(web.statistics().resent == 1);
  });
  CHECK(w.from.begun == 3);
  CHECK(w.from.closed == 3);
}

TEST_CASE("upload: a redirect that needs the body again is refused, unless it can be made again") {
  strings seen;
  const behaviour moved = [&](peer& p) -> task<> {
    while (true) {
      std::string head = co_await p.until("\r\n\r\n");
      if (head.empty()) co_return;
      const bool has_body = contains(head, "chunked");
      if (has_body) co_await p.until(end_of_chunks);
      seen.push_back(head.substr(0, head.find(" HTTP")) + (has_body ? " with body" : ""));
      const std::string code = contains(head, " /307 ")   ? "307 Temporary Redirect"
                               : contains(head, " /303 ") ? "303 See Other"
                                                          : "";
      if (code.empty()) {
        co_await p.send(fine);
      } else {
        co_await p.send("HTTP/1.1 " + code + "\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n");
      }
    }
  };
  world w;
  w.run(moved, [&](http::client& web) -> task<> {
    std::string message;
    CHECK(co_await test::code_of(web.send(put(http::upload(w.from.pieces({"a"})), "/307")), &message) ==
          "redirect_refused");
    CHECK(contains(message, "upload::again"));
    const http::upload again = http::upload::again(repeating{&w.from, {"b"}});
    CHECK((co_await web.fetch(put(again, "/307"))).body == "ok");
    CHECK((co_await web.fetch(put(http::upload(w.from.pieces({"c"})), "/303"))).body == "ok");
  });
  CHECK(seen == strings{"PUT /307 with body", "PUT /307 with body", "PUT /there with body",
                        "PUT /303 with body", "GET /there"});
  CHECK(w.from.begun == 4);
}

TEST_CASE(
    "upload: the server is asked first: it agrees, says nothing, or answers, and then nothing is made") {
  world w;
  strings seen;
  const behaviour asked = [&](peer& p) -> task<> {
    const std::string head = co_await p.until("\r\n\r\n");
    CHECK(contains(head, "\r\nExpect: 100-continue\r\n"));
    CHECK(head.find("Expect") == head.rfind("Expect"));
    const belay::time_point begin = belay::now();
    if (contains(head, " /agrees ")) {
      co_await belay::sleep_for(500ms);
      CHECK(w.from.begun == 0);
      co_await p.send("HTTP/1.1 100 Continue\r\n\r\n");
      seen.push_back(co_await p.until(end_of_chunks));
      CHECK(belay::now() - begin < 600ms);
      co_await p.send(fine);
    } else if (contains(head, " /silent ")) {
      seen.push_back(co_await p.until(end_of_chunks));
      CHECK(belay::now() - begin >= 1s);
      co_await p.send(fine);
    } else if (contains(head, " /moved ")) {
      co_await p.send("HTTP/1.1 307 Temporary Redirect\r\nLocation: /agrees\r\nContent-Length: 0\r\n\r\n");
      seen.push_back(co_await p.rest());
    } else {  // its answer takes longer than the client would wait for leave
      co_await p.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n");
      co_await belay::sleep_for(3s);
      co_await p.send("no");
      seen.push_back(co_await p.rest());
    }
  };
  w.run(asked, [&](http::client& web) -> task<> {
    const http::upload_options first{.expect_continue = true};
    http::client_request doubled = put(http::upload(w.from.pieces({"a"}), first), "/agrees");
    doubled.headers.add("Expect", "100-continue");
    CHECK((co_await web.fetch(std::move(doubled))).body == "ok");
    CHECK((co_await web.fetch(put(http::upload(w.from.pieces({"b"}), first), "/silent"))).body == "ok");
    const http::upload refused(w.from.pieces({"c"}), first);
    const http::response got = co_await web.send(put(refused, "/refuses"));
    CHECK(got.status == http::status::unauthorized);
    CHECK(got.body == "no");
    CHECK(refused.is_ready());
    CHECK(w.from.begun == 2);
    w.from.begun = 0;
    CHECK((co_await web.fetch(put(refused, "/moved"))).body ==
          "ok");  // it was not begun when it was redirected
    CHECK_FALSE(refused.is_ready());
  });
  CHECK(seen == strings{"1\r\na\r\n0\r\n\r\n", "1\r\nb\r\n0\r\n\r\n", "", "", "1\r\nc\r\n0\r\n\r\n"});
}

TEST_CASE("upload: the time of the source does not count; a server that takes nothing, or is silent, does") {
  world w;
  const behaviour various = [&](peer& p) -> task<> {
    const std::string head = co_await p.until("\r\n\r\n");
    if (contains(head, " /slow ")) {
      co_await p.until(end_of_chunks);
      co_await p.send(fine);
    } else if (contains(head, " /silent ")) {
      co_await p.rest();
    } else {
      co_await belay::sleep_for(1min);
    }
  };
  w.run(various, [&](http::client& web) -> task<> {
    CHECK((co_await web.fetch(put(http::upload(w.from.slow(10)), "/slow"))).body == "ok");
    std::string message;
    belay::time_point begin = belay::now();
    CHECK(co_await test::code_of(web.fetch(put(http::upload(w.from.slow(2)), "/silent")), &message) ==
          "response_timed_out");
    CHECK_MESSAGE(contains(message, "no response within 5000 ms"), message);
    CHECK(belay::now() - begin >= 13s);
    CHECK(belay::now() - begin < 14s);
    begin = belay::now();
    CHECK(co_await test::code_of(web.fetch(put(http::upload(w.from.endless(9000)), "/full")), &message) ==
          "response_timed_out");
    CHECK_MESSAGE(contains(message, "took no more of the body within 5000 ms"), message);
    CHECK(belay::now() - begin < 6s);
    CHECK(web.statistics().connections == web.statistics().idle);
  });
}

TEST_CASE("upload: while the response is read part by part") {
  world w;
  const behaviour echo = [&](peer& p) -> task<> {
    co_await p.until(end_of_chunks);
    co_await p.send(fine);
  };
  w.run(echo, [&](http::client& web) -> task<> {
    co_await belay::with(web.stream(put(http::upload(w.from.pieces({"a"})))),
                         [](http::incoming& answer) -> task<> { CHECK(co_await answer.read() == "ok"); });
  });
}

TEST_CASE("upload: what cannot be sent is misuse") {
  world w;
  const behaviour reader = [&](peer& p) -> task<> {
    co_await p.until(end_of_chunks);
    co_await p.send(fine);
  };
  w.run(reader, [&](http::client& web) -> task<> {
    const http::upload once(w.from.pieces({"a"}));
    http::client_request both = put(once);
    both.body = "b";
    const auto misuse = [&web](http::client_request what, const char* says) -> task<> {
      const auto how = co_await belay::as_outcome(web.send(std::move(what)));
      REQUIRE(how.failed());
      CHECK(how.failure().find<belay::misuse_error>() != nullptr);
      CHECK(contains(how.failure().message(), says));
    };
    co_await misuse(std::move(both), "both a body and an upload");
    co_await web.fetch(put(once));
    co_await misuse(put(once), "upload::again");
  });
  CHECK(w.connections == 1);
  CHECK_THROWS_AS(http::upload(w.from.pieces({}), {.continue_timeout = 0s}), belay::misuse_error);
  CHECK_THROWS_AS(static_cast<void>(http::upload().take()), belay::misuse_error);
}

TEST_CASE("upload: live, to a server that reads it while it comes") {
  belay::loop loop;
  http::server_hooks hooks;
  hooks.plan_body = [](const http::request&, const io::endpoint&) {
    return http::body_plan{.how = http::body_plan::way::streamed, .limit = 100'000'000};
  };
  http::server web(
      [](http::exchange& of) -> task<http::response> {
        std::size_t size = 0;
        co_await belay::for_each(of.body_stream(), [&size](std::string& piece) { size += piece.size(); });
        co_return http::response::text(http::status::ok, std::to_string(size));
      },
      std::move(hooks));
  const auto run = [&]() -> task<> {
    auto listener = io::tcp_listener::bind({"127.0.0.1", 0});
    const http::url to = http::url::parse("http://" + listener.local().to_string() + "/");
    co_await belay::with_group([&](belay::group& tasks) -> task<> {
      tasks.adopt(web.serve(std::move(listener)));
      source from;
      http::client sender;
      for (const bool known : {true, false}) {
        for (const bool asks : {true, false}) {
          http::client_request what{.method = http::method::post, .url = to};
          http::upload_options how{.expect_continue = asks};
          if (known) how.length = 20'000'000;
          what.upload = http::upload(from.pieces(strings(200, std::string(100'000, 'x'))), how);
          CHECK((co_await sender.fetch(std::move(what))).body == "20000000");
        }
      }
      CHECK(from.closed == 4);
      sender.close();
      web.drain();
    });
  };
  loop.run(belay::with_timeout(30s, run()));
}
