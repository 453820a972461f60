// SPDX-License-Identifier: Apache-2.0
// The thread that speaks with clients: sockets, timers, signals. Boost.Asio behind a small face, so
// that its headers stay in this folder.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

namespace boost::asio {
class io_context;
}

namespace folkmoot {

class IoLoop {
 public:
  IoLoop();
  ~IoLoop();
  IoLoop(const IoLoop&) = delete;
  IoLoop& operator=(const IoLoop&) = delete;

  // Runs handlers on the calling thread until Stop.
  void Run();

  // Any thread: runs `task` on the loop's thread, in the order of the calls.
  void Post(std::function<void()> task);
  void Stop();

  // The rest on the loop's thread, or before Run.

  // Runs `task` once after `delay`, unless the returned handle is destroyed first.
  class Timer;
  std::shared_ptr<Timer> After(std::chrono::milliseconds delay, std::function<void()> task);
  // `on_signal(number)` for every SIGTERM, SIGINT and SIGUSR1 from now on. mpirun passes SIGUSR1 on
  // to its ranks and goes on, while a SIGTERM makes it end them.
  void CatchSignals(std::function<void(int)> on_signal);

  boost::asio::io_context& context();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace folkmoot
