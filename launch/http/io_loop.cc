// SPDX-License-Identifier: Apache-2.0
#include "launch/http/io_loop.h"

#include <spdlog/spdlog.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <optional>
#include <typeinfo>

namespace folkmoot {

namespace asio = boost::asio;

struct IoLoop::Parts {
  asio::io_context context{1};  // one thread runs it
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  std::optional<asio::signal_set> signals;
  std::function<void(int)> on_signal;

  void AwaitSignal() {
    signals->async_wait([this](const boost::system::error_code& error, int number) {
      if (error) return;
      on_signal(number);
      AwaitSignal();
    });
  }
};

class IoLoop::Timer {
 public:
  Timer(asio::io_context& context, std::chrono::milliseconds delay, std::function<void()> task)
      : timer_(context, delay) {
    // The wait may be over, its handler not yet run, when the timer is destroyed: hence `alive`.
    timer_.async_wait([alive = std::weak_ptr<void>(alive_),
                       task = std::move(task)](const boost::system::error_code& error) {
      if (!error && !alive.expired()) task();
    });
  }

 private:
  std::shared_ptr<void> alive_ = std::make_shared<char>();
  asio::steady_timer timer_;
};

IoLoop::IoLoop() : parts_(std::make_unique<Parts>()) {}
IoLoop::~IoLoop() = default;

void IoLoop::Run() {
  for (;;) {
    try {
      parts_->context.run();
      return;
    } catch (const std::exception& error) {
      // Ours throw nothing; a library under a handler may. The other clients go on. what() is not
      // logged: it may quote a request.
      spdlog::error("a handler failed with {}", typeid(error).name());
    }
  }
}

void IoLoop::Post(std::function<void()> task) { asio::post(parts_->context, std::move(task)); }

void IoLoop::Stop() { parts_->context.stop(); }

std::shared_ptr<IoLoop::Timer> IoLoop::After(std::chrono::milliseconds delay,
                                             std::function<void()> task) {
  return std::make_shared<Timer>(parts_->context, delay, std::move(task));
}

void IoLoop::CatchSignals(std::function<void(int)> on_signal) {
  parts_->on_signal = std::move(on_signal);
  if (parts_->signals) return;
  parts_->signals.emplace(parts_->context, SIGTERM, SIGINT, SIGUSR1);
  parts_->AwaitSignal();
}

asio::io_context& IoLoop::context() { return parts_->context; }

}  // namespace folkmoot
