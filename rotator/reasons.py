"""The reasons of actions, skips, alerts and errors: constants, which programs and tests compare instead of texts."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why something is done, skipped or refused; the same word in plan, log, audit line, metric, status and error."""

    # rotate
    FIRST_KEY = "first-key"
    KEY_DISABLED = "key-disabled"
    EXPIRED = "expired"
    EXPIRING = "expiring"
    MAX_AGE = "max-age"
    CAPACITY = "capacity"
    REQUESTED = "requested"
    EMERGENCY = "emergency"
    # resume
    PENDING = "pending"
    # label, retire
    UNADOPTED = "unadopted"
    SUPERSEDED = "superseded"
    STALE_LABEL = "stale-label"
    MISLABELLED = "mislabelled"
    # revoke
    GRACE_OVER = "grace-over"
    KEY_NOT_ACTIVE = "key-not-active"
    ORPHAN = "orphan"
    # skipped
    HOLD = "hold"
    MISCONFIGURED = "misconfigured"
    EMPTY = "empty"
    REPLICA = "replica"
    OWNED = "owned-by-service"
    DELETED = "pending-deletion"
    FOREIGN_ROTATION = "rotation-in-progress"
    UNREADABLE = "unreadable"
    WINDOW = "window"
    DAILY_LIMIT = "daily-limit"
    LABEL_LIMIT = "label-limit"
    SCOPES_UNKNOWN = "scopes-unknown"
    SHARED_KEY = "shared-key"
    CURRENT_KEY_BROKEN = "current-key-broken"
    WAITING_FOR_CONSUMERS = "waiting-for-consumers"
    TOO_MANY_ORPHANS = "too-many-orphans"
    UNKNOWN_ACCOUNT = "unknown-account"
    DUPLICATE_MANAGEMENT = "duplicate-management"
    CLOCK_SKEW = "clock-skew"
    INCONSISTENT = "inconsistent-labels"
    UNKNOWN_KEY_EXPIRING = "unknown-key-expiring"
    ORPHAN_UNPROVEN = "orphan-unproven"
    KEY_REENABLED = "key-re-enabled"
    MANAGEMENT_PASSWORD_OLD = "management-password-old"
    EXPIRES_BEFORE_ROTATION = "expires-before-rotation"
    LISTING_INCOMPLETE = "listing-incomplete"
    UNPROVEN_LABEL = "unproven-label"
    KEY_NOT_FOUND = "key-not-found"
    OTHER_DEPLOYMENT_KEY = "other-deployment-key"
    OVERDUE = "overdue"
    REVOCATION_LIMIT = "revocation-limit"
    NO_EXPIRY = "no-expiry"
    SHARED_ACCOUNT = "shared-account"
    FIELD_OVERWRITTEN = "field-overwritten"
    STORE_UNREACHABLE = "store-unreachable"
    STORE_MISMATCH = "store-mismatch"
    MANAGEMENT_MISPLACED = "management-misplaced"
    AMBIGUOUS_NAME = "ambiguous-name"
