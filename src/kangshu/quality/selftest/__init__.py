"""The self-test (自测): what the platform would find in a file, at home or on a page that stores nothing.

The report is the platform's own (`quality.scoring.assess_file`): the same bytes for the same file.
"""

from kangshu.quality.selftest.page import report_html
from kangshu.quality.selftest.testing import SelfTest, check_file

__all__ = ["SelfTest", "check_file", "report_html"]
