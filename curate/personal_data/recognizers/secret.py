"""Secrets: keys of programming interfaces, private keys, tokens, passwords."""

from __future__ import annotations

import math
from collections import Counter

import regex

from .shape import ShapeRecognizer

_START = r"(?<![0-9A-Za-z_\-])"
_END = r"(?![0-9A-Za-z_\-])"
# Forms that the services document, or that their own scanners publish.
_KEYS = (
    ("OpenAI, Anthropic, DeepSeek", r"sk-(?:ant-|proj-|svcacct-|or-v1-)?[0-9A-Za-z_\-]{20,200}"),
    ("Stripe", r"[spr]k_(?:live|test)_[0-9A-Za-z]{16,200}"),
    ("GitHub", r"(?:gh[opusr]_[0-9A-Za-z]{36,255}|github_pat_[0-9A-Za-z_]{22,255})"),
    ("GitLab", r"gl(?:pat|dt|rt|ptt|cbt)-[0-9A-Za-z_\-]{20,64}"),
    ("Hugging Face", r"(?:hf|api_org)_[A-Za-z]{34,40}"),
    ("Amazon", r"(?:AKIA|ASIA|AROA|AIDA)[0-9A-Z]{16}"),
    ("Google", r"AIza[0-9A-Za-z_\-]{35}"),
    ("Google OAuth", r"(?:ya29\.[0-9A-Za-z_\-]{20,500}|GOCSPX-[0-9A-Za-z_\-]{28})"),
    ("Slack", r"xox[abeoprs]-[0-9A-Za-z\-]{10,250}"),
    ("Aliyun", r"LTAI[0-9A-Za-z]{12,20}"),
    ("Tencent", r"AKID[0-9A-Za-z]{32}"),
    ("npm", r"npm_[0-9A-Za-z]{36}"),
    ("PyPI", r"pypi-[0-9A-Za-z_\-]{50,300}"),
    ("SendGrid", r"SG\.[0-9A-Za-z_\-]{16,32}\.[0-9A-Za-z_\-]{16,64}"),
    ("Telegram bot", r"[0-9]{8,10}:AA[0-9A-Za-z_\-]{33}"),
    ("JSON web token", r"eyJ[0-9A-Za-z_\-]{8,1000}\.eyJ[0-9A-Za-z_\-]{8,2000}\.[0-9A-Za-z_\-]{10,1000}"),
)
_PRIVATE_KEY = (
    r"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:\s{0,4}[A-Za-z\-]{1,24}: [^\n]{0,80}\n){0,4}[0-9A-Za-z+/=\s\\]{0,12000}"
    r"-----END (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
)
_PRIVATE_KEY_CUT = r"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----[0-9A-Za-z+/=\s\\]{40,12000}"
_BEARER = (
    r"(?<=[ \t])(?=[0-9A-Za-z._~+/\-])(?<=\b(?:bearer|token"
    r"|basic)[ \t]{1,4})[0-9A-Za-z._~+/\-]{20,2000}={0,2}(?![0-9A-Za-z])"
)
_CONNECTION = (
    r"(?<![0-9A-Za-z+])(?:postgres(?:ql)?|mysql|mariadb|mongodb|redis|rediss|amqps?|mssql|oracle|clickhouse|ftp|sftp|https?)"
    r"(?:\+[a-z0-9]{1,20})?://[0-9A-Za-z._~%!$&*+\-]{0,64}:[^\s:/@'\"<>{}$]{3,128}@[0-9A-Za-z.\-]{1,255}(?::[0-9]{1,5})?"
    r"(?:/[0-9A-Za-z._~%?&=+\-/]{0,256})?"
)
_ASSIGNED = (
    r"(?<=[:：=> \t'\"`])(?=[!-~])(?<=(?:passwd|password|pwd|secret|api[_\-]?key|apikey|access[_\-]?key"
    r"|auth[_\-]?token|access[_\-]?token"
    r"|secret[_\-]?key|client[_\-]?secret|private[_\-]?key|credentials?)['\"]?[ \t]{0,3}(?::|：|=|=>|:=)[ \t]{0,3}"
)
_QUOTED = _ASSIGNED + r"['\"`])[^\s'\"`<>{}$()]{6,200}(?=['\"`])"
_UNQUOTED = (
    _ASSIGNED + r")[^\s'\"`,;<>{}$()\[\]\u3000-\u303f\u3400-\u9fff\uff00-\uffef]{6,200}(?<![.:!?])(?![0-9A-Za-z_(\[])"
)
_SAID = (
    r"(?<![0-9A-Za-z])(?=[!-~])(?<=(?:密码|口令|密钥|password is|passcode is|pwd is)[ \t]{0,2}(?:[:：=是为]|设为"
    r"|改成了?|改为){0,2}[ \t]{0,2}['\"“「`]?)"
    r"(?!['\"`(])[!-~]{6,64}(?<![,.;:!?)'\"`])"
)
_TYPED = (
    r"(?<=-[pa][ \t]?['\"]?)(?=[!-~])(?<=(?<![0-9A-Za-z_])(?:"
    r"(?:mysql(?:dump|admin|import|show)?|mariadb(?:-dump)?)(?:[ \t][^\n|;&]{0,120})?[ \t]-p|sshpass[ \t]-p[ \t]?"
    r"|mongo(?:sh|dump|restore)?(?:[ \t][^\n|;&]{0,80})?[ \t]-u[ \t]?[!-~]{1,40}[ \t]-p[ \t]?"
    r"|redis-cli(?:[ \t][^\n|;&]{0,120})?[ \t]-a[ \t])['\"]?)"
    r"(?=[!-~]{0,63}[A-Za-z])[^\s'\"`,;<>{}$()\[\]|\u3000-\u303f\u3400-\u9fff\uff00-\uffef]{6,64}(?![0-9A-Za-z<>{}$()\[\]])"
)


class SecretRecognizer(ShapeRecognizer):
    """Keys and tokens by the form that their service gives them; connection strings with a password in them."""

    ENTITY = "SECRET"
    SHAPE_FLAGS = regex.ASCII | regex.DOTALL | regex.MULTILINE
    SHAPES = (
        *((name, _START + shape + _END, 0.9) for name, shape in _KEYS),
        ("private key", _PRIVATE_KEY, 1.0),
        ("private key, cut off", _PRIVATE_KEY_CUT, 0.8),
    )

    def invalidate_result(self, pattern_text: str) -> bool:
        return is_placeholder(pattern_text)


class AssignedSecretRecognizer(ShapeRecognizer):
    """What is assigned to a password or key, sent as a bearer token, part of a connection string, or given to a command
    (`mysql -p...`)."""

    ENTITY = "SECRET"
    SHAPES = (
        ("bearer", _BEARER, 0.6),
        ("connection", _CONNECTION, 0.8),
        ("assigned, quoted", _QUOTED, 0.6),
        ("assigned", _UNQUOTED, 0.5),
        ("said", _SAID, 0.6),
        ("typed at a prompt", _TYPED, 0.6),
    )

    def invalidate_result(self, pattern_text: str) -> bool:
        if "://" in pattern_text:
            if "@" not in pattern_text:
                return True
            password = pattern_text.partition("://")[2].partition("@")[0].rpartition(":")[2]
            return is_placeholder(password) or password.lower() in ("pass", "pwd", "port")
        return is_placeholder(pattern_text) or not _looks_made(pattern_text)


_PLACEHOLDER = regex.compile(
    r"your|example|placeholder|changeme|change_me|xxxx|\*\*\*|\.\.\.|<|redacted|dummy|insert|todo|my[_\-]?(?:api|secret|password|token)"
    r"|^(?:password|passwd|secret|string|none|null|true|false|undefined|required|text|str)s?$|1234567890abcdef|abcdefghij",
    regex.ASCII | regex.IGNORECASE,
)
_NAME = regex.compile(
    r"[A-Za-z_][A-Za-z_]*(?:[.\-][A-Za-z_]+)*[;:,]?|[a-z]+(?:_[a-z0-9]+)+|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", regex.ASCII
)


def is_placeholder(text: str) -> bool:
    """Whether a value stands for a secret in an explanation: `your-api-key`, `xxxx`, one character again and again."""
    return bool(_PLACEHOLDER.search(text)) or len(set(text)) <= 3


def _looks_made(text: str) -> bool:
    """Whether a value is no word or name of a program: digits or signs among letters, and enough different ones."""
    if _NAME.fullmatch(text):
        return False
    counts = Counter(text)
    bits = -sum(number / len(text) * math.log2(number / len(text)) for number in counts.values())
    return any(char.isdigit() for char in text) and bits >= 2.2
