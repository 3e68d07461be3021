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
    # skipped or deferred; those that a person must fix are alerts as well
    HOLD = "hold"
    MISCONFIGURED = "misconfigured"
    EMPTY = "empty"
    REPLICA = "replica"
    OWNED = "owned-by-service"
    DELETED = "pending-deletion"
    FOREIGN_ROTATION = "rotation-in-progress"
    INCONSISTENT = "inconsistent-labels"
    UNPROVEN_LABEL = "unproven-label"
    UNREADABLE = "unreadable"
    WINDOW = "window"
    DAILY_LIMIT = "daily-limit"
    LABEL_LIMIT = "label-limit"
    REVOCATION_LIMIT = "revocation-limit"
    SCOPES_UNKNOWN = "scopes-unknown"
    SHARED_KEY = "shared-key"
    CURRENT_KEY_BROKEN = "current-key-broken"
    KEY_NOT_FOUND = "key-not-found"
    WAITING_FOR_CONSUMERS = "waiting-for-consumers"
    TOO_MANY_ORPHANS = "too-many-orphans"
    LISTING_INCOMPLETE = "listing-incomplete"
    # alerts and errors about a secret or a key
    OTHER_DEPLOYMENT_KEY = "other-deployment-key"
    ORPHAN_UNPROVEN = "orphan-unproven"
    KEY_REENABLED = "key-re-enabled"
    UNKNOWN_KEY_EXPIRING = "unknown-key-expiring"
    EXPIRES_BEFORE_ROTATION = "expires-before-rotation"
    NO_EXPIRY = "no-expiry"
    FIELD_OVERWRITTEN = "field-overwritten"
    OVERDUE = "overdue"
    # alerts and errors about an account or a store
    CLOCK_SKEW = "clock-skew"
    UNKNOWN_ACCOUNT = "unknown-account"
    DUPLICATE_MANAGEMENT = "duplicate-management"
    SHARED_ACCOUNT = "shared-account"
    MANAGEMENT_PASSWORD_OLD = "management-password-old"
    MANAGEMENT_MISPLACED = "management-misplaced"
    NO_MANAGED_SECRET = "no-managed-secret"
    STORE_UNREACHABLE = "store-unreachable"
    STORE_MISMATCH = "store-mismatch"
    # errors only
    AMBIGUOUS_NAME = "ambiguous-name"
