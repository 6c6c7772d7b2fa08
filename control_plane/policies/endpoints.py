"""`/v1/policies`, `/v1/approval-chains`, `/v1/on-call-schedules`, `/v1/masks`."""

from __future__ import annotations

from fastapi import APIRouter

from control_plane.documents.resources import document_router
from control_plane.kit.access import Permission
from data_plane.policy import model

router = APIRouter()
router.include_router(document_router(model.Policy, "/v1/policies", Permission.POLICY_EDIT))
router.include_router(document_router(model.ApprovalChain, "/v1/approval-chains", Permission.POLICY_EDIT))
router.include_router(document_router(model.OnCallSchedule, "/v1/on-call-schedules", Permission.POLICY_EDIT))
router.include_router(document_router(model.Mask, "/v1/masks", Permission.POLICY_EDIT))
