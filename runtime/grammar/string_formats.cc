// SPDX-License-Identifier: Apache-2.0
#include "runtime/grammar/string_formats.h"

namespace folkmoot {
namespace {

// RFC 3339, with the days that the months have.
#define FM_DATE                                                      \
  R"((?:[1-9]\d{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|)"  \
  R"((?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))|)" \
  R"((?:[1-9]\d(?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)-02-29))"
#define FM_TIME                                        \
  R"((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?)" \
  R"((?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d))"
#define FM_LABEL R"([A-Za-z0-9](?:[A-Za-z0-9\-]{0,30}[A-Za-z0-9])?)"
#define FM_HOST FM_LABEL R"((?:\.)" FM_LABEL R"(){0,3})"
#define FM_BYTE R"((?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d))"
#define FM_IPV4 FM_BYTE R"((?:\.)" FM_BYTE R"(){3})"
#define FM_H16 R"([0-9A-Fa-f]{1,4})"

constexpr std::string_view kDate = FM_DATE;
constexpr std::string_view kTime = FM_TIME;
constexpr std::string_view kDateTime = FM_DATE "T" FM_TIME;
constexpr std::string_view kUuid = R"([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})";
constexpr std::string_view kHostname = FM_HOST;
constexpr std::string_view kEmail = R"([A-Za-z0-9_+\-]{1,30}(?:\.[A-Za-z0-9_+\-]{1,30})?@)" FM_LABEL
                                    R"((?:\.)" FM_LABEL R"(){1,3})";
constexpr std::string_view kIpv4 = FM_IPV4;
// RFC 4291: eight groups, or fewer around one "::".
constexpr std::string_view kIpv6 =
    R"((?:)" FM_H16 R"(:){7})" FM_H16 R"(|::(?:)" FM_H16 R"((?::)" FM_H16 R"(){0,6})?)"
    R"(|)" FM_H16 R"(::(?:)" FM_H16 R"((?::)" FM_H16 R"(){0,5})?)"
    R"(|(?:)" FM_H16 R"(:){2}:(?:)" FM_H16 R"((?::)" FM_H16 R"(){0,4})?)"
    R"(|(?:)" FM_H16 R"(:){3}:(?:)" FM_H16 R"((?::)" FM_H16 R"(){0,3})?)"
    R"(|(?:)" FM_H16 R"(:){4}:(?:)" FM_H16 R"((?::)" FM_H16 R"(){0,2})?)";
// RFC 3986 with an authority; percent escapes are whole.
#define FM_PCHAR R"((?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2}))"
constexpr std::string_view kUri =
    R"([A-Za-z][A-Za-z0-9+\-.]{0,15}://)" FM_HOST R"((?::[1-9]\d{0,3})?)"
    R"((?:/)" FM_PCHAR R"({0,60}){0,8}(?:\?)" FM_PCHAR R"({0,200})?(?:#)" FM_PCHAR R"({0,60})?)";

struct NamedFormat {
  std::string_view name;
  std::string_view regex;
};
constexpr NamedFormat kFormats[] = {
    {"date", kDate}, {"time", kTime},   {"date-time", kDateTime},
    {"uuid", kUuid}, {"email", kEmail}, {"hostname", kHostname},
    {"ipv4", kIpv4}, {"ipv6", kIpv6},   {"uri", kUri},
};

}  // namespace

std::string_view StringFormatRegex(std::string_view format) {
  for (const NamedFormat& known : kFormats) {
    if (known.name == format) return known.regex;
  }
  return {};
}

std::string_view StringFormatNames() {
  return "date, time, date-time, uuid, email, hostname, ipv4, ipv6 and uri";
}

}  // namespace folkmoot
