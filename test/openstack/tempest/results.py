#!/usr/bin/python3
"""A subunit stream on stdin, as lines on stdout: test, result, reason, with a tab between.
Results are passed, failed and skipped; only skipped ones have a reason."""
import re
import sys
from testtools import StreamToDict
from subunit import ByteStreamToStreamResult

RESULTS = {'success': 'passed', 'skip': 'skipped', 'xfail': 'passed'}     # all else: failed


def print_result(test):
    if test['status'] == 'exists':
        return
    name = re.sub(r'\[.*\]$', '', test['id'])                   # the rest is tempest's attributes
    result = RESULTS.get(test['status'], 'failed')
    reason = test['details'].get('reason') if result == 'skipped' else None
    print(name, result, ' '.join(reason.as_text().split()) if reason else '', sep='\t')


receiver = StreamToDict(print_result)
receiver.startTestRun()
ByteStreamToStreamResult(sys.stdin.buffer, non_subunit_name='stdout').run(receiver)
receiver.stopTestRun()
