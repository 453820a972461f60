# Fails when the committed page is not what `folkmoot help --markdown` prints.
#
#   cmake -DFOLKMOOT=<program> -DPAGE=<docs/configuration.md> -P check_page.cmake

cmake_minimum_required(VERSION 3.25)

execute_process(COMMAND ${FOLKMOOT} help --markdown OUTPUT_VARIABLE printed RESULT_VARIABLE status)
if(NOT status EQUAL 0 OR NOT printed MATCHES "--max-num-seqs")
  message(FATAL_ERROR "folkmoot help --markdown: status ${status}, no list of flags")
endif()
file(READ ${PAGE} committed)
if(NOT committed STREQUAL printed)
  message(FATAL_ERROR "${PAGE} is stale: write it again with\n  ${FOLKMOOT} help --markdown > ${PAGE}")
endif()
