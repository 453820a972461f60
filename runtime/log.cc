// SPDX-License-Identifier: Apache-2.0
#include "runtime/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <utility>

namespace folkmoot {
namespace {

struct Level {
  std::string_view name;
  spdlog::level::level_enum value;
};
constexpr std::array<Level, 6> kLevels = {{{"trace", spdlog::level::trace},
                                           {"debug", spdlog::level::debug},
                                           {"info", spdlog::level::info},
                                           {"warning", spdlog::level::warn},
                                           {"error", spdlog::level::err},
                                           {"off", spdlog::level::off}}};

const Level* FindLevel(std::string_view name) {
  for (const Level& level : kLevels) {
    if (level.name == name) return &level;
  }
  return nullptr;
}

}  // namespace

absl::StatusOr<std::string> ResolveLogLevel(std::string_view flag, const char* environment) {
  const bool from_flag = !flag.empty();
  std::string_view name = flag;
  if (!from_flag && environment != nullptr) name = environment;
  if (name.empty()) name = "warning";
  if (name == "warn") name = "warning";
  if (FindLevel(name) == nullptr) {
    return InvalidArgument(
        "{}: unknown log level '{}'; use trace, debug, info, warning, error or off",
        from_flag ? "--log-level" : "FOLKMOOT_LOG_LEVEL", name);
  }
  return std::string(name);
}

absl::Status SetUpLog(const LogOptions& options) {
  FM_ASSIGN_OR_RETURN(const std::string name,
                      ResolveLogLevel(options.level, std::getenv("FOLKMOOT_LOG_LEVEL")));
  spdlog::level::level_enum level = FindLevel(name)->value;
  if (options.rank != 0 && !options.all_ranks && level < spdlog::level::warn) {
    level = spdlog::level::warn;
  }
  const char* no_color = std::getenv("NO_COLOR");
  const auto mode = no_color != nullptr && *no_color != '\0' ? spdlog::color_mode::never
                                                             : spdlog::color_mode::automatic;
  auto logger = std::make_shared<spdlog::logger>(
      "folkmoot", std::make_shared<spdlog::sinks::stderr_color_sink_mt>(mode));
  logger->set_pattern(fmt::format("%H:%M:%S.%e %^%-7l%$ [r{}/{}] %v", options.rank, options.ranks));
  logger->set_level(level);
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
  return absl::OkStatus();
}

}  // namespace folkmoot
