"""The `Uploads` port of recordings over the link's UploadRecording call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from assentry.v1 import link_pb2 as pb
from assentry.v1 import link_pb2_grpc as stubs

from data_plane.link import wire
from data_plane.link.messages import UploadAck
from data_plane.recording.format import RecordingEnd
from data_plane.recording.upload import BrokenRecordingError, UploadInterruptedError

_Call = grpc.aio.StreamStreamCall[pb.RecordingUpload, pb.RecordingAck]


class GrpcUpload:
    """One recording on its way. Raises BrokenRecordingError or UploadInterruptedError."""

    def __init__(self, call: _Call) -> None:
        self._call = call

    async def begin(self, session_id: str, instance_id: str) -> int:
        """The segment to go on from."""
        return (await self._ask(wire.recording_begin(session_id, instance_id))).next_segment

    async def segment(self, index: int, sealed: bytes) -> int:
        return (await self._ask(wire.recording_segment(index, sealed))).next_segment

    async def end(self, end: RecordingEnd) -> bool:
        message = wire.recording_end(end.segments, end.chain_hash, end.signature, complete=end.complete)
        return (await self._ask(message)).stored

    async def _ask(self, message: pb.RecordingUpload) -> UploadAck:
        try:
            await self._call.write(message)
            answer = await self._call.read()
        except (grpc.aio.AioRpcError, grpc.aio.UsageError) as error:
            raise await self._explained() from error
        if not isinstance(answer, pb.RecordingAck):  # grpc.aio.EOF
            raise await self._explained()
        return wire.upload_ack(answer)

    async def _explained(self) -> Exception:
        details = await self._call.details() or "the control plane closed the upload"
        if await self._call.code() is grpc.StatusCode.DATA_LOSS:
            return BrokenRecordingError(details)
        return UploadInterruptedError(details)


class GrpcUploads:
    def __init__(self, stub: stubs.LinkAsyncStub, instance_id: str) -> None:
        self._stub = stub
        self.instance_id = instance_id

    @asynccontextmanager
    async def open(self) -> AsyncIterator[GrpcUpload]:
        call = self._stub.UploadRecording(None)  # written with `write`, not by an iterator
        try:
            yield GrpcUpload(call)
            await call.done_writing()
        finally:
            call.cancel()
