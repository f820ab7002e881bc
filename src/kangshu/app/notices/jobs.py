"""What the jobs are called by which notices leave the platform."""

MAIL_JOB = "notice.mail"
HOOK_JOB = "notice.hook"
