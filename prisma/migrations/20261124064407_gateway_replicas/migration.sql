-- CreateTable
CREATE TABLE "session"."gateway_replicas" (
    "name" TEXT NOT NULL,
    "heard_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "gateway_replicas_pkey" PRIMARY KEY ("name")
);
