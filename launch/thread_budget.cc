// SPDX-License-Identifier: Apache-2.0
#include "launch/thread_budget.h"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

namespace folkmoot {
namespace {

std::string Contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// "150000 100000" is a core and a half; "max 100000" has no limit.
double QuotaOf(const std::string& cpu_max) {
  std::istringstream text(cpu_max);
  double quota = 0;
  double period = 0;
  return text >> quota >> period && quota > 0 && period > 0 ? quota / period : 0;
}

}  // namespace

double CpuQuota(const std::string& root, const std::string& membership) {
  const size_t at = membership.find("0::/");
  if (at == std::string::npos) return 0;
  std::string group = membership.substr(at + 3, membership.find('\n', at) - at - 3);
  double least = 0;
  while (true) {
    const double quota = QuotaOf(Contents(root + group + "/cpu.max"));
    if (quota > 0 && (least == 0 || quota < least)) least = quota;
    if (group.empty() || group == "/") return least;
    group.erase(group.rfind('/'));
  }
}

ThreadFacts DetectThreadFacts() {
  ThreadFacts facts;
  facts.online_cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  facts.allowed_cores = sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? CPU_COUNT(&allowed)
                                                                             : facts.online_cores;
  facts.quota_cores = CpuQuota("/sys/fs/cgroup", Contents("/proc/self/cgroup"));
  const char* local = std::getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
  facts.ranks_on_host = local == nullptr ? 1 : std::max(1, std::atoi(local));
  facts.bound_by_launcher = std::getenv("OMPI_MCA_orte_bound_at_launch") != nullptr;
  return facts;
}

ThreadBudget BudgetOf(const ThreadFacts& facts, int threads, const std::string& pin) {
  const bool own = facts.allowed_cores < facts.online_cores &&
                   (facts.ranks_on_host == 1 || facts.bound_by_launcher);
  const int sharers = own ? 1 : facts.ranks_on_host;
  ThreadBudget budget;
  budget.pin = pin == "on" || (pin == "auto" && own);
  if (threads > 0) {
    budget.threads = threads;
    budget.why = "--threads";
    return budget;
  }
  int cores = facts.allowed_cores;
  std::string limit;
  // A control group is shared by all ranks in it, bound or not.
  const double quota = facts.quota_cores / facts.ranks_on_host * sharers;
  if (quota > 0 && quota < cores) {
    cores = static_cast<int>(std::ceil(quota));
    limit = fmt::format(", {:.3g} of CPU time allowed", facts.quota_cores);
  }
  budget.threads = std::max(1, cores / sharers);
  budget.why = fmt::format("{} of {} cores for {} rank{}{}", facts.allowed_cores,
                           facts.online_cores, sharers, sharers == 1 ? "" : "s", limit);
  return budget;
}

}  // namespace folkmoot
