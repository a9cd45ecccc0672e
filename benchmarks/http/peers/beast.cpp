// SPDX-License-Identifier: Apache-2.0
// GET /hello on Boost.Beast alone, asynchronous, one thread, as its own examples are made, without its timer for each read.
//   belay_http_beast PORT     exit: killed by a signal; 2 usage

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using executor = asio::io_context::executor_type;  // typed: no type erasure, no locks
using tcp_socket = asio::basic_stream_socket<asio::ip::tcp, executor>;
using tcp_acceptor = asio::basic_socket_acceptor<asio::ip::tcp, executor>;
using boost::system::error_code;

// RFC 9110 date, made anew once a second.
boost::beast::string_view date() {
  static std::array<char, 32> text{};
  static std::time_t made_for = 0;
  static std::size_t length = 0;
  const std::time_t now = std::time(nullptr);
  if (now != made_for) {
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    length = std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    made_for = now;
  }
  return {text.data(), length};
}

class session : public std::enable_shared_from_this<session> {
 public:
  explicit session(tcp_socket socket) : socket_(std::move(socket)) {}

  void read() {
    parser_.emplace();
    parser_->header_limit(16 * 1024);
    parser_->body_limit(1024 * 1024);
    http::async_read(socket_, buffer_, *parser_, [self = shared_from_this()](error_code wrong, std::size_t) {
      if (wrong == http::error::end_of_stream) {
        self->socket_.shutdown(asio::socket_base::shutdown_send, wrong);
      } else if (!wrong) {
        self->answer();
      }
    });
  }

 private:
  void answer() {
    const auto& asked = parser_->get();
    answer_ = {};
    answer_.version(asked.version());
    answer_.keep_alive(asked.keep_alive());
    answer_.set(http::field::content_type, "application/json");
    answer_.set(http::field::date, date());
    if (asked.target() != "/hello") {
      answer_.result(http::status::not_found);
      answer_.body() = "{}";
    } else if (asked.method() != http::verb::get) {
      answer_.result(http::status::method_not_allowed);
      answer_.body() = "{}";
    } else {
      answer_.body() = R"({"message":"hello, world"})";
    }
    answer_.prepare_payload();
    http::async_write(socket_, answer_, [self = shared_from_this()](error_code wrong, std::size_t) {
      if (wrong) return;
      if (self->answer_.need_eof()) {
        self->socket_.shutdown(asio::socket_base::shutdown_send, wrong);
      } else {
        self->read();
      }
    });
  }

  tcp_socket socket_;
  boost::beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  http::response<http::string_body> answer_;
};

void accept(tcp_acceptor& on) {
  on.async_accept([&on](error_code wrong, tcp_socket socket) {
    if (!wrong) {
      socket.set_option(asio::ip::tcp::no_delay(true), wrong);
      std::make_shared<session>(std::move(socket))->read();
    }
    accept(on);
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: belay_http_beast PORT\n", stderr);
    return 2;
  }
  asio::io_context context(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
  tcp_acceptor acceptor(context.get_executor());
  const asio::ip::tcp::endpoint at(asio::ip::address_v4::loopback(),
                                   static_cast<std::uint16_t>(std::atoi(argv[1])));
  acceptor.open(at.protocol());
  acceptor.set_option(asio::socket_base::reuse_address(true));
  acceptor.bind(at);
  acceptor.listen(4096);
  accept(acceptor);
  context.run();
}
