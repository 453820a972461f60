# Makes a C++ source of the page, with the Content-Security-Policy that allows exactly its style and
# its script.
#
#   cmake -DPAGE=index.html -DOUTPUT=page_html.cc -P EmbedPage.cmake

cmake_minimum_required(VERSION 3.25)

# out: base64 of the SHA-256 of `text`.
function(sha256_base64 text out)
  set(alphabet "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
  string(SHA256 hex "${text}")
  string(APPEND hex "00")  # 33 bytes: eleven groups of three
  set(base64 "")
  foreach(group RANGE 10)
    math(EXPR at "6 * ${group}")
    string(SUBSTRING ${hex} ${at} 6 bytes)
    foreach(shift 18 12 6 0)
      math(EXPR index "(0x${bytes} >> ${shift}) & 63")
      string(SUBSTRING ${alphabet} ${index} 1 letter)
      string(APPEND base64 ${letter})
    endforeach()
  endforeach()
  string(SUBSTRING ${base64} 0 43 base64)  # the last letter is of the added byte
  set(${out} "${base64}=" PARENT_SCOPE)
endfunction()

# out: what lies between <tag> and </tag>, each of which is there once.
function(content_of html tag out)
  string(FIND "${html}" "<${tag}>" from)
  string(FIND "${html}" "</${tag}>" to)
  if(from EQUAL -1 OR to EQUAL -1)
    message(FATAL_ERROR "${PAGE}: no <${tag}> ... </${tag}>")
  endif()
  string(LENGTH "<${tag}>" skip)
  math(EXPR from "${from} + ${skip}")
  math(EXPR length "${to} - ${from}")
  string(SUBSTRING "${html}" ${from} ${length} content)
  set(${out} "${content}" PARENT_SCOPE)
endfunction()

file(READ ${PAGE} html)
foreach(tag style script)
  content_of("${html}" ${tag} content)
  sha256_base64("${content}" ${tag}_hash)
endforeach()
string(FIND "${html}" ")page\"" clash)
if(NOT clash EQUAL -1)
  message(FATAL_ERROR "${PAGE}: contains )page\", which ends the C++ literal")
endif()
file(WRITE ${OUTPUT} "// Made by EmbedPage.cmake from index.html.
#include \"launch/api/page/page_html.h\"

namespace folkmoot {

const std::string_view kPageHtml = R\"page(${html})page\";
const std::string_view kPagePolicy =
    \"default-src 'none'; style-src 'sha256-${style_hash}'; \"
    \"script-src 'sha256-${script_hash}'; connect-src 'self'; base-uri 'none'; \"
    \"form-action 'none'; frame-ancestors 'none'\";

}  // namespace folkmoot
")
