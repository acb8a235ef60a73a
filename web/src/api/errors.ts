// What can go wrong between the page and its server, in the words a person needs.

export type ApiErrorKind =
  | "unreachable" // no answer, or a proxy's word that there is nobody behind it
  | "slow" // no answer in time
  | "unauthorized"
  | "rejected" // the server answered, and said what it does not like
  | "unintelligible"; // an answer that is not of this API

export class ApiError extends Error {
  readonly kind: ApiErrorKind;
  /** What the reader can do about it: one sentence. */
  readonly advice: string;

  constructor(kind: ApiErrorKind, message: string, advice: string) {
    super(message);
    this.name = "ApiError";
    this.kind = kind;
    this.advice = advice;
  }
}

export function unreachable(reason: string): ApiError {
  return new ApiError("unreachable", `The server does not answer (${reason}).`, "Check that it is running.");
}
